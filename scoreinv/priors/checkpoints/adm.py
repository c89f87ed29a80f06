"""State dicts of guided-diffusion (Dhariwal & Nichol 2021, "ADM"), the networks of DDS, D3IP and SCD.

The same U-Net as diffusers' `UNet2DModel` under other names, but for two things: the published networks compute
queries, keys and values head by head, q1 k1 v1 q2 k2 v2 ..., where diffusers has all queries first; and most learned
their variance, whose outputs no sampler here needs.

Not all of the configuration can be told from the weights. What cannot: the width of an attention head, its order, and
the schedule; they are arguments, with the published values as defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scoreinv.priors.checkpoints.diffusers import keep_mean, vp
from scoreinv.priors.checkpoints.files import Checkpoint, check_names, checked, find_state, load_file, some

_BLOCK = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


@dataclass(frozen=True)
class AdmLayout:
    """Which layers there are; the defaults are those of AAPM256 and of the fastMRI networks but for `attention`.

    Attributes:
        channels: of each level.
        layers: residual blocks a level.
        attention: levels with attention, 0 is full size; the middle always has it.
        resample: levels are joined by residual blocks (`resblock_updown`), not by convolutions.
    """

    channels: Sequence[int] = (256, 256, 512, 512, 1024, 1024)
    layers: int = 1
    attention: Sequence[int] = (4,)
    resample: bool = True


def read_adm(
    path: Path,
    *,
    num_head_channels: int = 64,
    num_heads: int | None = None,
    use_new_attention_order: bool = False,
    scheduler: Mapping[str, Any] | None = None,
    layout: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """An ADM network as diffusers' `UNet2DModel`.

    Args:
        path: of the `.pt` file.
        num_head_channels: channels of an attention head.
        num_heads: heads, for networks with a fixed number of them (num_head_channels -1); their attention must sit at
            levels of equal width, as diffusers knows the width of a head only.
        use_new_attention_order: queries, keys and values are not interleaved.
        scheduler: how it was trained (see `vp`); by default linear betas from 1e-4 to 0.02 in 1000 steps, epsilon.
        layout: arguments of `AdmLayout`, for files that hold a moving average without names (D3IP's
            `ellipses_ema.pt`); otherwise it is recognised.
    """
    try:
        nameless = AdmLayout(**(layout or {}))
    except TypeError as error:
        raise ValueError(
            f"read_checkpoint: layout has other keys than {sorted(asdict(AdmLayout()))} ({error})"
        ) from None
    state = find_state(load_file(path), path, names=_parameter_names(nameless))
    if "label_emb.weight" in state:
        raise ValueError(f"read_checkpoint: {path} is conditioned on classes; expected an unconditional network")
    layout_ = _recognise(state, path)
    names = _names(layout_)
    check_names(path, "an ADM network", _parameter_names(layout_), state)

    channels = list(layout_.channels)
    base = state["time_embed.0.weight"].shape[1]
    if base != channels[0]:
        raise ValueError(
            f"read_checkpoint: {path} has {channels[0]} channels at full size but times embedded in {base}; "
            "UNet2DModel knows one number for both"
        )
    widths = {channels[level] for level in layout_.attention} | {channels[-1]}
    if num_heads is not None:
        if len(widths) > 1:
            raise ValueError(
                f"read_checkpoint: num_heads is {num_heads} and attention has {sorted(widths)} channels; UNet2DModel "
                "has heads of one width, so expected a single number of channels"
            )
        num_head_channels = max(widths) // num_heads
    if num_head_channels <= 0 or any(width % num_head_channels for width in widths):
        raise ValueError(
            f"read_checkpoint: attention has {sorted(widths)} channels, which heads of {num_head_channels} do not "
            "divide; give the network's own num_head_channels or num_heads"
        )
    converted: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        for part in ("weight", "bias"):
            value = state[f"{theirs}.{part}"]
            if theirs.endswith(".qkv"):
                for name, piece in _split_heads(value, num_head_channels, use_new_attention_order, path).items():
                    converted[f"{ours}.{name}.{part}"] = piece
            else:
                # Projections are 1-D convolutions there and linear layers here.
                converted[f"{ours}.{part}"] = value.squeeze(-1) if theirs.endswith(".proj_out") else value
    arguments = _arguments(layout_, state, num_head_channels)
    arguments["out_channels"] = keep_mean(converted, arguments["in_channels"], path)
    return checked(Checkpoint("unet2d", arguments, converted, vp(scheduler or {})), path)


def _split_heads(qkv: Tensor, width: int, new_order: bool, path: Path) -> dict[str, Tensor]:
    """Weight (3 channels, channels, 1) or bias (3 channels,) of the joint projection, in diffusers' three parts."""
    if qkv.ndim == 3:
        qkv = qkv.squeeze(-1)
    if len(qkv) % (3 * width):
        raise ValueError(f"read_checkpoint: {path} has a qkv layer of shape {tuple(qkv.shape)}; check the layout")
    if not new_order:
        # (head, q k v, width) -> (q k v, head, width)
        qkv = qkv.reshape(-1, 3, width, *qkv.shape[1:]).transpose(0, 1).reshape(qkv.shape)
    return {name: piece.clone() for name, piece in zip(("to_q", "to_k", "to_v"), qkv.chunk(3), strict=True)}


def _recognise(state: Mapping[str, Tensor], path: Path) -> AdmLayout:
    """Read off the decoder, where the end of a level is marked even between blocks of equal width."""
    blocks = 1 + max((int(key.split(".")[1]) for key in state if key.startswith("output_blocks.")), default=-1)
    joints = [
        i
        for i in range(blocks)
        if any(
            f"output_blocks.{i}.{j}.{part}" in state for j in (1, 2) for part in ("in_layers.2.weight", "conv.weight")
        )
    ]
    levels = len(joints) + 1
    weights = [state.get(f"output_blocks.{i}.0.out_layers.3.weight") for i in range(blocks)]
    if not blocks or blocks % levels or any(w is None for w in weights) or "time_embed.0.weight" not in state:
        raise ValueError(
            f"read_checkpoint: {path} is not an ADM network; it has {some(state)}; "
            "expected time_embed..., input_blocks..., middle_block..., output_blocks..., out...; check the family"
        )
    each = blocks // levels
    ends = [blocks - 1 - each * level for level in range(levels)]
    return AdmLayout(
        channels=[len(weights[end]) for end in ends],  # type: ignore[arg-type]
        layers=each - 1,
        attention=[level for level, end in enumerate(ends) if f"output_blocks.{end}.1.qkv.weight" in state],
        resample=not any(key.endswith((".op.weight", ".conv.weight")) for key in state),
    )


def _names(layout: AdmLayout) -> dict[str, str]:
    """The original's names of all layers with weights, in the order of its parameters, each with that of diffusers."""
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
    }
    last, index, before = len(layout.channels) - 1, 1, layout.channels[0]
    skips = [before]
    for level, after in enumerate(layout.channels):
        ours = f"down_blocks.{level}"
        for layer in range(layout.layers):
            names |= _block(f"input_blocks.{index}.0", f"{ours}.resnets.{layer}", before != after)
            if level in layout.attention:
                names |= _attention(f"input_blocks.{index}.1", f"{ours}.attentions.{layer}")
            before, index = after, index + 1
            skips.append(after)
        if level < last:
            theirs, ours = f"input_blocks.{index}.0", f"{ours}.downsamplers.0"
            names |= _block(theirs, ours, False) if layout.resample else {f"{theirs}.op": f"{ours}.conv"}
            index += 1
            skips.append(after)
    names |= _block("middle_block.0", "mid_block.resnets.0", False)
    names |= _attention("middle_block.1", "mid_block.attentions.0")
    names |= _block("middle_block.2", "mid_block.resnets.1", False)
    index = 0
    for level in range(last, -1, -1):
        after, ours = layout.channels[level], f"up_blocks.{last - level}"
        for layer in range(layout.layers + 1):
            theirs, place = f"output_blocks.{index}", 1
            names |= _block(f"{theirs}.0", f"{ours}.resnets.{layer}", before + skips.pop() != after)
            if level in layout.attention:
                names |= _attention(f"{theirs}.1", f"{ours}.attentions.{layer}")
                place = 2
            before, index = after, index + 1
        if level > 0:
            theirs, ours = f"{theirs}.{place}", f"{ours}.upsamplers.0"
            names |= _block(theirs, ours, False) if layout.resample else {f"{theirs}.conv": f"{ours}.conv"}
    return names | {"out.0": "conv_norm_out", "out.2": "conv_out"}


def _block(theirs: str, ours: str, widens: bool) -> dict[str, str]:
    return {f"{theirs}.{k}": f"{ours}.{v}" for k, v in _BLOCK.items() if widens or k != "skip_connection"}


def _attention(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.norm": f"{ours}.group_norm", f"{theirs}.qkv": ours, f"{theirs}.proj_out": f"{ours}.to_out.0"}


def _parameter_names(layout: AdmLayout) -> list[str]:
    return [f"{name}.{part}" for name in _names(layout) for part in ("weight", "bias")]


def _arguments(layout: AdmLayout, state: Mapping[str, Tensor], head: int) -> dict[str, Any]:
    """Arguments of `UNet2DModel`, but for out_channels."""
    levels = range(len(layout.channels))
    plain = "Resnet{}sampleBlock2D" if layout.resample else "{}Block2D"
    blocks = {
        way: [f"Attn{way}Block2D" if level in layout.attention else plain.format(way) for level in levels]
        for way in ("Down", "Up")
    }
    shifts, outputs = state["middle_block.0.emb_layers.1.weight"], state["middle_block.0.out_layers.3.weight"]
    return {
        "in_channels": state["input_blocks.0.0.weight"].shape[1],
        "block_out_channels": list(layout.channels),
        "layers_per_block": layout.layers,
        "down_block_types": blocks["Down"],
        "up_block_types": blocks["Up"][::-1],
        "downsample_type": "resnet" if layout.resample else "conv",
        "upsample_type": "resnet" if layout.resample else "conv",
        "resnet_time_scale_shift": "scale_shift" if len(shifts) == 2 * len(outputs) else "default",
        "attention_head_dim": head,
        # diffusers leaves the norm of the middle attention out for scale_shift unless told.
        "attn_norm_num_groups": 32,
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
    }
