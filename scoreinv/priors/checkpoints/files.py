"""What all families of checkpoints share: the result, files read without running code, averages, clear refusals."""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv.priors.architectures import build_network

_SHOWN = 8
# How torch.save began before it wrote zip files: a pickled number. Other pickles are programs from their first byte.
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")


@dataclass(frozen=True)
class Checkpoint:
    """A network read from elsewhere, and what its answer means.

    Attributes:
        architecture: "unet2d" (diffusers' `UNet2DModel`) or "ncsnpp" (`NCSNpp`).
        arguments: of its constructor, plain JSON.
        state: its state dict, float32. The Fourier frequencies of an "ncsnpp" do not survive half precision.
        parametrisation: plain JSON, one of
            {"kind": "vp", "prediction": "epsilon" | "sample" | "v_prediction", "betas": [...]}: the network is called
            with the image scaled as in training, sqrt(abar) x0 + sqrt(1 - abar) n, and the step 0 ... len(betas) - 1;
            {"kind": "ve", "sigma_min": ..., "sigma_max": ...}: it is called with z and sigma and answers the score,
            x0 = z + sigma^2 network(z, sigma); images are in [-1, 1] if it is `centered`, else in [0, 1].
    """

    architecture: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]
    parametrisation: dict[str, Any]

    @property
    def channels(self) -> int:
        """Of the image."""
        name = "num_channels" if self.architecture == "ncsnpp" else "out_channels"
        return int(self.arguments.get(name, 1))

    def build(self) -> nn.Module:
        """The network with its weights, for evaluation."""
        network = build_network(self.arguments, self.architecture)
        network.load_state_dict(self.state)
        return network.eval()


def load_file(path: Path) -> Any:
    """What torch.save or safetensors wrote to `path`, on the CPU; nothing in the file is executed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if reading it would execute code, or it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"read_checkpoint: there is no file {path}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file as load_safetensors

        try:
            return load_safetensors(path)
        except SafetensorError as error:
            raise ValueError(f"read_checkpoint: {path} is damaged or incomplete ({error}); copy it again") from None
    with path.open("rb") as file:
        head = file.read(len(_LEGACY))
    if not head.startswith((b"PK", b"\x80")):
        raise ValueError(
            f"read_checkpoint: {path} was not written by torch.save (it begins with {head!r}); if it was downloaded, "
            "the server may have sent a page instead: download it again"
        )
    code = ""
    try:
        if head.startswith((b"PK", _LEGACY)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        if not isinstance(error, pickle.UnpicklingError) or "eights only" not in str(error):
            raise ValueError(f"read_checkpoint: {path} is damaged or incomplete; copy it again") from None
        found = re.search(r"(?:GLOBAL|global|class) ([\w.]+\.[\w.]+)", str(error))
        code = f" ({found[1]})" if found else ""
    raise ValueError(
        f"read_checkpoint: {path} holds more than tensors{code}: reading it would run code, which is refused; load "
        "it once in its own repository and save the weights alone, torch.save(model.state_dict(), 'weights.pt')"
    )


def find_state(
    content: Any,
    path: Path,
    names: Iterable[str] = (),
    frozen: Collection[str] = (),
    buffers: Collection[str] = (),
) -> dict[str, Tensor]:
    """The weights to use: the moving average if there is one, else the state dict; float32.

    The average of score_sde's training loops is a list without names, `{"ema": {"shadow_params": [...]}}`, in the order
    of `model.parameters()`, of the parameters that had a gradient. A state dict lists them in that same order, with
    buffers and frozen parameters in between: leaving those out puts a name to every entry. They are taken from the
    state dict, as they have no average.

    Args:
        content: a state dict; or {"model": state dict, "ema": either}; or {"shadow_params": [...]} alone.
        path: for messages.
        names: names of the parameters in order, where the file holds an average alone.
        frozen: names of parameters without gradient.
        buffers: names of what is no parameter.
    """
    model, ema = content, None
    if isinstance(content, Mapping) and not _is_state(content):
        model = content.get("model", content.get("state_dict"))
        ema = content if "shadow_params" in content else content.get("ema")
        if _is_state(ema):
            model, ema = ema, None
    known = ema is None or (isinstance(ema, Mapping) and "shadow_params" in ema)
    if known and _is_state(model):
        # DataParallel and DistributedDataParallel put "module." in front.
        state = {str(key).removeprefix("module."): value for key, value in model.items()}
    elif known and ema is not None and names:
        state = dict.fromkeys(names, torch.empty(0))
    else:
        got = f"a dictionary of {some(content)}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        got += "" if known else f" (with an ema of {some(ema) if isinstance(ema, Mapping) else type(ema).__name__})"
        raise ValueError(
            f"read_checkpoint: {path} holds {got}, expected a state dict or {{'model': ..., 'ema': ...}}; "
            "save model.state_dict() alone"
        )
    if ema is not None:
        state |= _name_average(list(ema["shadow_params"]), state, frozen, buffers, path)
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _name_average(
    shadow: list[Tensor], state: Mapping[str, Tensor], frozen: Collection[str], buffers: Collection[str], path: Path
) -> dict[str, Tensor]:
    parameters = [key for key in state if key not in buffers]
    trained = [key for key in parameters if key not in frozen]
    # Later versions of the average (torch_ema 0.3) run over frozen parameters as well.
    names = next((keys for keys in (trained, parameters) if len(keys) == len(shadow)), None)
    if names is None:
        raise ValueError(
            f"read_checkpoint: the average in {path} has {len(shadow)} tensors, expected {len(trained)}, one for each "
            "trained parameter; say which layers the network has, or copy the average into the model in its own "
            "repository and save model.state_dict()"
        )
    average = dict(zip(names, shadow, strict=True))
    wrong = [key for key in names if state[key].numel() and state[key].shape != average[key].shape]
    if wrong:
        raise ValueError(
            f"read_checkpoint: the average in {path} is in another order than the model: shapes differ at "
            f"{some(wrong)}; copy it into the model in its own repository and save model.state_dict()"
        )
    return average


def check_names(path: Path, what: str, expected: Collection[str], got: Collection[str]) -> None:
    """Raise a ValueError that lists the keys that `what` needs and the file lacks, and the other way round."""
    missing = [key for key in expected if key not in got]
    unknown = [key for key in got if key not in expected]
    if missing or unknown:
        lists = [f"{name}: {some(keys)}" for name, keys in (("missing", missing), ("unknown", unknown)) if keys]
        raise ValueError(f"read_checkpoint: {path} is not {what}; {'; '.join(lists)}; check family and arguments")


def checked(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """The same, once its weights fit its network in name and shape; raises a ValueError that lists what does not."""
    with torch.device("meta"):
        expected = build_network(checkpoint.arguments, checkpoint.architecture).state_dict()
    check_names(path, f"a {checkpoint.architecture} with these arguments", expected, checkpoint.state)
    wrong = [
        f"{key} {tuple(checkpoint.state[key].shape)} expected {tuple(value.shape)}"
        for key, value in expected.items()
        if checkpoint.state[key].shape != value.shape
    ]
    if wrong:
        raise ValueError(f"read_checkpoint: {path} has weights of other shapes: {some(wrong)}; check the arguments")
    return checkpoint


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(isinstance(v, Tensor) for v in content.values())


def some(keys: Iterable[Any]) -> str:
    """The first few of a list, and how many there are."""
    keys = [str(key) for key in keys]
    return ", ".join(keys[:_SHOWN]) + (f" ... ({len(keys)} in all)" if len(keys) > _SHOWN else "")
