"""Checkpoints of score_sde and its descendants (score-MRI, DiffusionMBIR, MCG, TPDM): `{model, ema, step}`, NCSN++.

The original keeps its layers in one list, `all_modules.0`, `all_modules.1`, ..., in the order in which they run; which
layer sits where follows from the configuration alone. So the names are translated by walking our network in that order,
and the configuration is recognised from what the list holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv.priors.checkpoints.files import Checkpoint, check_names, checked, find_state, load_file, some
from scoreinv.priors.ncsnpp import NCSNpp
from scoreinv.priors.ncsnpp_layers import Attention, ResidualBlock, ResidualPyramid, SkipPyramid, ToImage

_FREQUENCIES = "all_modules.0.W"


def read_ncsnpp(path: Path, **arguments: Any) -> Checkpoint:
    """An NCSN++ with its averaged weights.

    Args:
        path: of the `.pth` file, or of a state dict of the original model.
        arguments: of `NCSNpp`, where the published configuration was changed and the weights do not tell: `fir_kernel`,
            `skip_rescale`, `scale_by_sigma`, `centered`; `fir` unless the image enters as a residual; `image_size` for
            the record. The others are recognised.
    """
    state = find_state(load_file(path), path, frozen={_FREQUENCIES}, buffers={"sigmas"})
    sigmas = state.pop("sigmas", None)
    found = _recognise(state, path, int(arguments.get("image_size", 256)))
    if sigmas is not None and len(sigmas) > 1:
        # Rounded, as the list was made by exp(linspace(log ...)).
        found["sigma_max"], found["sigma_min"] = (float(f"{float(s):.6g}") for s in (sigmas.max(), sigmas.min()))
        found["num_scales"] = len(sigmas)
    try:
        with torch.device("meta"):
            network = NCSNpp(**(found | arguments))
    except TypeError as error:
        raise ValueError(f"read_checkpoint: an argument is not one of NCSNpp ({error})") from None
    names = original_names(network)
    check_names(path, "an NCSN++ with these arguments", names, state)
    converted = {
        # The original's network-in-network layers multiply from the right.
        ours: (state[theirs].T if theirs.endswith(".W") and state[theirs].ndim == 2 else state[theirs]).contiguous()
        for theirs, ours in names.items()
    }
    arguments = {key: list(value) if isinstance(value, tuple) else value for key, value in (found | arguments).items()}
    parametrisation = {
        "kind": "ve",
        "sigma_min": float(arguments.get("sigma_min", 0.01)),
        "sigma_max": float(arguments.get("sigma_max", 378.0)),
    }
    return checked(Checkpoint("ncsnpp", arguments, converted, parametrisation), path)


def original_names(network: NCSNpp) -> dict[str, str]:
    """The original's names of all weights, in the order of its parameters, each with our name."""
    return {
        f"all_modules.{index}.{theirs}": ours
        for index, parts in enumerate(_original_modules(network))
        for theirs, ours in parts.items()
    }


def _original_modules(network: NCSNpp) -> Iterator[dict[str, str]]:
    """For each entry of the original's list, its parameters' names with ours."""
    if network.noise.kind == "fourier":
        yield {"W": "noise.frequencies"}
    yield _affine("", "noise.linear1")
    yield _affine("", "noise.linear2")
    yield _affine("", "conv_in")
    for name, stage in network.down.named_children():
        parts = dict(stage.named_children())
        attentions = parts["attentions"].children()
        for (i, block), attention in zip(parts["blocks"].named_children(), attentions, strict=True):
            yield from _layer(f"down.{name}.blocks.{i}", block)
            yield from _layer(f"down.{name}.attentions.{i}", attention)
        yield from _layer(f"down.{name}.shrink", parts.get("shrink"))
        yield from _layer(f"down.{name}.pyramid", parts.get("pyramid"))
    for name, layer in network.middle.named_children():
        yield from _layer(f"middle.{name}", layer)
    for name, stage in network.up.named_children():
        parts = dict(stage.named_children())
        for i, block in parts["blocks"].named_children():
            yield from _layer(f"up.{name}.blocks.{i}", block)
        for part in ("attention", "image", "grow"):
            yield from _layer(f"up.{name}.{part}", parts.get(part))


def _layer(prefix: str, layer: nn.Module | None) -> Iterator[dict[str, str]]:
    if isinstance(layer, ResidualBlock):
        table = {
            "GroupNorm_0": "norm1",
            "Conv_0": "conv1",
            "Dense_0": "noise",
            "GroupNorm_1": "norm2",
            "Conv_1": "conv2",
        }
        if layer.skip is not None:
            table["Conv_2"] = "skip"
        yield {k: v for theirs, ours in table.items() for k, v in _affine(f"{theirs}.", f"{prefix}.{ours}").items()}
    elif isinstance(layer, Attention):
        names = _affine("GroupNorm_0.", f"{prefix}.norm")
        for i, ours in enumerate(("query", "key", "value", "out")):
            names |= {f"NIN_{i}.W": f"{prefix}.{ours}.weight", f"NIN_{i}.b": f"{prefix}.{ours}.bias"}
        yield names
    elif isinstance(layer, ResidualPyramid):
        yield _affine("Conv2d_0." if layer.resample.fir else "Conv_0.", f"{prefix}.conv")
    elif isinstance(layer, SkipPyramid):
        yield _affine("Conv_0.", f"{prefix}.conv")
    elif isinstance(layer, ToImage):
        yield _affine("", f"{prefix}.norm")
        yield _affine("", f"{prefix}.conv")


def _affine(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}weight": f"{ours}.weight", f"{theirs}bias": f"{ours}.bias"}


def _recognise(state: dict[str, Tensor], path: Path, image_size: int) -> dict[str, Any]:
    """The arguments of NCSNpp that the weights tell.

    One letter for each entry of the list: F frequencies, L linear, C convolution, N norm, B block, R block that
    resamples, A attention, P pyramid. The published one reads FLLC BBBB RP BBBB RP BBBB RP BBBB BAB BBBBB R ... NC.
    """
    modules: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        index, _, name = rest.partition(".")
        if head == "all_modules" and index.isdecimal():
            modules.setdefault(int(index), {})[name] = value
    entries = [modules[index] for index in sorted(modules)]
    kinds = "".join(_kind(entry) for entry in entries)
    start = kinds.find("LLC")
    if start not in (0, 1) or "B" not in kinds or "?" in kinds:
        raise ValueError(
            f"read_checkpoint: {path} is not an NCSN++ of BigGAN blocks (resblock_type); it has {some(state)}; "
            "check the family"
        )
    first, levels = entries[start + 2]["weight"], kinds.count("R") // 2 + 1
    parts = kinds[start + 3 :].split("R")
    # In a network of one level the encoder is followed at once by the three middle layers and the decoder.
    blocks = parts[0].count("B") if levels > 1 else (parts[0].count("B") - 3) // 2
    width: list[int] = []
    for position, kind in enumerate(kinds):
        if kind == "B" and kinds[:position].count("R") == len(width) < levels:
            width.append(len(entries[position]["Conv_0.weight"]))
    attends = [part.lstrip("P").startswith("BA") for part in parts[:levels]]
    found: dict[str, Any] = {
        "image_size": image_size,
        "num_channels": first.shape[1],
        "nf": len(first),
        "ch_mult": [channels // len(first) for channels in width],
        "num_res_blocks": blocks,
        "attn_resolutions": [image_size // 2**level for level, attention in enumerate(attends) if attention],
        "embedding_type": "fourier" if start else "positional",
        "progressive": "output_skip" if kinds.count("N") > 1 else "none",
        "progressive_input": "none",
    }
    if "P" in kinds:
        pyramid = entries[kinds.index("P")]
        if "Conv2d_0.weight" in pyramid:
            found |= {"progressive_input": "residual", "fir": True}
        elif pyramid["Conv_0.weight"].shape[-1] == 3:
            found |= {"progressive_input": "residual", "fir": False}
        else:
            found["progressive_input"] = "input_skip"
    return found


def _kind(entry: dict[str, Tensor]) -> str:
    if "W" in entry:
        return "F"
    if "GroupNorm_1.weight" in entry and "Conv_0.weight" in entry:
        resamples = "Conv_2.weight" in entry and entry["Conv_2.weight"].shape[0] == entry["Conv_2.weight"].shape[1]
        # Blocks of type "ddpm" have a network-in-network layer instead.
        return "?" if "NIN_0.W" in entry else "R" if resamples else "B"
    if "NIN_3.W" in entry:
        return "A"
    if "Conv2d_0.weight" in entry or "Conv_0.weight" in entry:
        return "P"
    weight = entry.get("weight")
    return "?" if weight is None else {1: "N", 2: "L", 4: "C"}.get(weight.ndim, "?")
