"""Trained networks on disk: a folder of `config.json`, `model.safetensors` and a card, `README.md`.

config.json
    format       1
    kind         "deepsparse"
    name         for messages
    network      arguments of DiCE
    denoise      whether the denoising layers are used
    trained_on   fields of TrainingScans, or null
    sha256       of model.safetensors

Weights are stored in half precision; codebooks, their averages and the statistics of batch normalisation, which decide
and divide, in full.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from scoreinv.baselines.deepsparse.network import DiCE
from scoreinv.baselines.deepsparse.training_scans import TrainingScans
from scoreinv.io.atomic import atomic_path, write_json

_KEYS = {"format", "kind", "name", "network", "denoise", "trained_on", "sha256"}
_FULL_PRECISION = ("codes", "sums", "sizes", "running_mean", "running_var", "num_batches_tracked")


def save_deepsparse(folder: str | os.PathLike[str], network: DiCE, name: str, card: str, half: bool = True) -> None:
    """Write a network, each file whole or not at all; weights in half precision unless `half` is False."""
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({key: _stored(key, value, half) for key, value in network.state_dict().items()})
    with atomic_path(folder / "model.safetensors") as temporary:
        temporary.write_bytes(weights)
    trained_on = network.trained_on
    write_json(
        folder / "config.json",
        {
            "format": 1,
            "kind": "deepsparse",
            "name": name,
            "network": network.configuration,
            "denoise": network.denoise,
            "trained_on": None if trained_on is None else trained_on.to_dict(),
            "sha256": hashlib.sha256(weights).hexdigest(),
        },
    )
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(card)


def load_deepsparse(folder: str | os.PathLike[str]) -> DiCE:
    """A network as `save_deepsparse` writes it, in evaluation mode on the CPU.

    Raises:
        FileNotFoundError: if the folder or a file of it is missing.
        ValueError: if the configuration is not of this format, or the weights are damaged or another network's.
    """
    folder = Path(folder)
    path, weights = folder / "config.json", folder / "model.safetensors"
    for file in (path, weights):
        if not file.is_file():
            raise FileNotFoundError(f"load_deepsparse: {file} is missing; copy the whole folder of the network")
    try:
        config = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"load_deepsparse: {path} is not JSON ({error}); copy it again") from None
    if not isinstance(config, dict) or set(config) != _KEYS or (config["format"], config["kind"]) != (1, "deepsparse"):
        raise ValueError(f"load_deepsparse: {path} is no DeepSparse network of format 1; expected keys {sorted(_KEYS)}")
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != config["sha256"]:
        raise ValueError(
            f"load_deepsparse: {weights} is damaged (its SHA-256 is not the one in config.json); copy it again"
        )
    from safetensors.torch import load

    try:
        network = DiCE(**config["network"], denoise=config["denoise"])
        network.load_state_dict({key: _loaded(value) for key, value in load(content).items()})
        network.trained_on = config["trained_on"] and TrainingScans.from_dict(config["trained_on"])
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"load_deepsparse: {path} does not fit its weights ({reason}); copy both") from None
    return network.eval()


def check_configuration(network: DiCE, expected: dict[str, Any], source: str) -> None:
    """Raise ValueError, naming the field, unless a network read from `source` has the expected arguments of DiCE."""
    for key, value in expected.items():
        if network.configuration[key] != value:
            raise ValueError(
                f"{source} has {key} = {network.configuration[key]}, expected {value}; set network.{key} to match, or "
                "start from another network"
            )


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().contiguous().cpu()
    return value.half() if half and not key.endswith(_FULL_PRECISION) else value


def _loaded(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
