"""Trained networks on disk: a folder of `config.json`, `model.safetensors` and a card, `README.md`.

config.json
    format       2
    kind         a name of `NETWORKS`
    name         for messages
    network      arguments of its class
    trained_on   fields of TrainingScans, or null
    sha256       of model.safetensors

Weights are stored in half precision; codebooks, their averages and the statistics of batch normalisation, which decide
and divide, in full.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from scoreinv.baselines.deepsparse.network import DiCE
from scoreinv.baselines.learned import DIFNet, FBPConvNet, LearnedNetwork, TrainingScans, Unrolled, reconstruct
from scoreinv.io.atomic import atomic_path, write_json

__all__ = ["NETWORKS", "bundled_networks", "load_network", "reconstruct", "save_network"]

NETWORKS: dict[str, type[LearnedNetwork]] = {cls.kind: cls for cls in (DiCE, DIFNet, FBPConvNet, Unrolled)}
BUNDLED = Path(__file__).parent / "bundled"
_KEYS = {"format", "kind", "name", "network", "trained_on", "sha256"}
_FULL_PRECISION = ("codes", "sums", "sizes", "running_mean", "running_var", "num_batches_tracked", "log_weights")


def bundled_networks() -> list[str]:
    """Names that `load_network` knows without a folder."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/config.json"))


def save_network(
    folder: str | os.PathLike[str], network: LearnedNetwork, name: str, card: str, half: bool = True
) -> None:
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
            "format": 2,
            "kind": network.kind,
            "name": name,
            "network": network.configuration,
            "trained_on": None if trained_on is None else trained_on.to_dict(),
            "sha256": hashlib.sha256(weights).hexdigest(),
        },
    )
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(card)


def load_network(name_or_folder: str | os.PathLike[str]) -> LearnedNetwork:
    """A bundled network by name (`bundled_networks()` lists them) or one from a folder; in evaluation mode on the CPU.

    Raises:
        FileNotFoundError: if there is no such name or folder, or a file of it is missing.
        ValueError: if the configuration is not of this format, or the weights are damaged or another network's.
    """
    folder = Path(name_or_folder)
    if not folder.is_dir():
        folder = BUNDLED / str(name_or_folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"load_network: no network {str(name_or_folder)!r}; expected a folder of `scoreinv train`, or one of "
            f"{bundled_networks()}"
        )
    path, weights = folder / "config.json", folder / "model.safetensors"
    for file in (path, weights):
        if not file.is_file():
            raise FileNotFoundError(
                f"load_network: {file} is missing; expected the whole folder; a training leaves it in `network`"
            )
    config = _read_config(path)
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != config["sha256"]:
        raise ValueError(
            f"load_network: {weights} is damaged (its SHA-256 is not the one in config.json); copy it again"
        )
    from safetensors.torch import load

    try:
        network = NETWORKS[config["kind"]](**config["network"])
        network.load_state_dict({key: _loaded(value) for key, value in load(content).items()})
        network.trained_on = config["trained_on"] and TrainingScans.from_dict(config["trained_on"])
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"load_network: {path} does not fit its weights ({reason}); copy both") from None
    return network.eval()


def check_configuration(network: LearnedNetwork, kind: str, expected: Mapping[str, Any], source: str) -> None:
    """Raise ValueError, naming the field, unless a network read from `source` is of a kind with these arguments."""
    for key, value in {"kind": kind, **expected}.items():
        got = network.kind if key == "kind" else network.configuration[key]
        if got != value:
            raise ValueError(
                f"{source} has {key} = {got}, expected {value}; set network.{key} to match, or start from another"
            )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"load_network: {path} is not JSON ({error}); copy it again") from None
    if not isinstance(config, dict) or set(config) != _KEYS or config["format"] != 2:
        raise ValueError(f"load_network: {path} is no network of format 2; expected keys {sorted(_KEYS)}")
    if config["kind"] not in NETWORKS:
        raise ValueError(f"load_network: {path} has kind = {config['kind']!r}, expected one of {sorted(NETWORKS)}")
    return config


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().contiguous().cpu()
    return value.half() if half and not key.endswith(_FULL_PRECISION) else value


def _loaded(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
