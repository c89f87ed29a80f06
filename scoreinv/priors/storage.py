"""Priors on disk: a folder of `config.json`, `model.safetensors` (half precision) and a card, `README.md`.

config.json
    format       2
    name         for messages
    architecture "unet2d" (diffusers' UNet2DModel) or "ncsnpp"
    network      its arguments
    channels     of the image
    parametrisation   what the network sees and answers: kind (edm, vp, ve) and its constants
    data_std     of clean images, network units
    sigma_range  noise levels of the training, network units
    intensity    scale, offset, unit: image = scale * network + offset; percentile or threshold: see IntensityMap
    air          network value outside the patient
    voxel_size   range of the training images, mm
    errors       pairs (sigma, rms validation error), network units
    sha256       of model.safetensors
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import convert_conv2d_weight_memory_format

from scoreinv.priors.architectures import build_network, multiple_of
from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.network import NetworkPrior
from scoreinv.priors.parametrisation import describe_parametrisation, parametrisation_of

BUNDLED = Path(__file__).parent / "bundled"
_KEYS = {"format", "name", "architecture", "network", "channels", "parametrisation"}
_KEYS |= {"data_std", "sigma_range", "intensity", "air", "voxel_size", "errors", "sha256"}
# Noise frequencies of thousands lose their phase in half precision.
_FULL_PRECISION = ("frequencies",)


def load_prior(name_or_folder: str | os.PathLike[str]) -> NetworkPrior:
    """A bundled prior by name (`bundled_priors()` lists them) or one from a folder.

    Raises:
        FileNotFoundError: if there is no such name or folder, or a file of it is missing.
        ValueError: if the configuration is not of this format or the weights are damaged.
    """
    folder = prior_folder(name_or_folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"load_prior: no prior {str(name_or_folder)!r}; expected a folder or one of {bundled_priors()}"
        )
    config = _read_config(folder)
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise FileNotFoundError(f"load_prior: {weights} is missing; copy the whole folder of the prior")
    if _sha256(weights) != config["sha256"]:
        raise ValueError(f"load_prior: {weights} is damaged (its SHA-256 is not the one in config.json); copy it again")
    from safetensors.torch import load_file

    try:
        return _prior(config, {key: value.float() for key, value in load_file(weights).items()})
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"load_prior: {folder / 'config.json'} does not fit its weights ({reason}); copy both"
        ) from None


def prior_folder(name_or_folder: str | os.PathLike[str]) -> Path:
    """Where `load_prior` looks."""
    folder = Path(name_or_folder)
    return folder if folder.is_dir() else BUNDLED / str(name_or_folder)


def _prior(config: dict[str, Any], state: dict[str, Tensor]) -> NetworkPrior:
    network = build_network(config["network"], config["architecture"])
    network.load_state_dict(state)
    # Channels last in memory: a sixth faster on CPUs, and what the tensor cores of GPUs want.
    convert_conv2d_weight_memory_format(network, torch.channels_last)
    voxel_size = config["voxel_size"]
    return NetworkPrior(
        network,
        data_std=float(config["data_std"]),
        sigma_range=tuple(config["sigma_range"]),
        intensity=IntensityMap(**config["intensity"]),
        air=config["air"],
        voxel_size=None if voxel_size is None else tuple(voxel_size),
        errors=config["errors"],
        multiple=multiple_of(config["network"], config["architecture"]),
        name=config["name"],
        parametrisation=parametrisation_of(config["parametrisation"]),
        channels=config["channels"],
    )


def save_prior(
    folder: str | os.PathLike[str],
    prior: NetworkPrior,
    network: dict[str, Any],
    card: str,
    architecture: str = "unet2d",
    half: bool = True,
) -> None:
    """Write a prior whose network is `build_network(network, architecture)`; each file appears whole or not at all.

    Weights are stored in half precision, which moves answers by about 1e-3 of their size, unless `half` is False.
    """
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({key: _stored(key, value, half) for key, value in prior.network.state_dict().items()})
    config = {
        "format": 2,
        "name": prior.name,
        "architecture": architecture,
        "network": network,
        "channels": prior.channels,
        "parametrisation": describe_parametrisation(prior.parametrisation),
        "data_std": prior.data_std,
        "sigma_range": [prior.sigma_min, prior.sigma_max],
        "intensity": asdict(prior.intensity),
        "air": prior.air,
        "voxel_size": prior.voxel_size,
        "errors": prior.errors,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    _replace(folder / "model.safetensors", weights)
    _replace(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
    _replace(folder / "README.md", card.encode())


def bundled_priors() -> list[str]:
    """Names that `load_prior` knows without a folder."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/config.json"))


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"load_prior: {path} is missing; a prior is a folder of config.json and model.safetensors"
        )
    try:
        config = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"load_prior: {path} is not JSON ({error}); copy it again") from None
    if not isinstance(config, dict) or config.get("format") != 2 or set(config) != _KEYS:
        raise ValueError(f"load_prior: {path} is not a prior of format 2; expected the keys {sorted(_KEYS)}")
    return config


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    value = value.contiguous().cpu()
    return value.half() if half and not key.endswith(_FULL_PRECISION) else value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)
