"""From another project's checkpoint to a folder that `load_prior` reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scoreinv.priors.architectures import multiple_of
from scoreinv.priors.checkpoints.reader import read_checkpoint
from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.network import NetworkPrior
from scoreinv.priors.parametrisation import parametrisation_of
from scoreinv.priors.storage import save_prior


def import_checkpoint(
    path: str | os.PathLike[str],
    family: str,
    out: str | os.PathLike[str],
    *,
    intensity: IntensityMap | None = None,
    data_std: float = 0.25,
    air: float = 0.0,
    voxel_size: tuple[float, float] | None = None,
    **arguments: Any,
) -> NetworkPrior:
    """Write the prior folder of a checkpoint.

    What the file cannot tell is asked for: how the values that the network saw map to those of images is the most
    common mistake with any of these networks.

    Args:
        path, family, arguments: as `read_checkpoint` takes them.
        out: folder to write.
        intensity: image = scale * network + offset.
        data_std: standard deviation of clean images, network units: about 0.25 for [0, 1], 0.5 for [-1, 1].
        air: network value of what surrounds the patient, 0 for [0, 1] and -1 for [-1, 1].
        voxel_size: range of training voxel sizes, mm.

    Raises:
        FileNotFoundError, ValueError: as `read_checkpoint`.
        ValueError: if data_std or the scale is not above 0.
    """
    if not data_std > 0 or (intensity is not None and not intensity.scale > 0):
        raise ValueError(
            f"import_checkpoint: data_std {data_std:g}, {intensity}; expected both data_std and the scale above 0"
        )
    checkpoint = read_checkpoint(path, family, **arguments)
    network = checkpoint.build()
    prior = NetworkPrior(
        network,
        data_std=data_std,
        intensity=intensity,
        air=air,
        voxel_size=voxel_size,
        multiple=multiple_of(checkpoint.arguments, checkpoint.architecture),
        name=Path(out).name,
        parametrisation=parametrisation_of(checkpoint.parametrisation),
        channels=checkpoint.channels,
    )
    save_prior(out, prior, checkpoint.arguments, _card(Path(path), family, prior), checkpoint.architecture, half=False)
    return prior


def _card(path: Path, family: str, prior: NetworkPrior) -> str:
    parameters = sum(p.numel() for p in prior.network.parameters())
    return f"""# {prior.name}

Imported from `{path.name}` ({family}), {parameters:,} parameters. Its licence, training data and use are those of its
origin, which this file does not know.

| | |
|---|---|
| parametrisation | {type(prior.parametrisation).__name__} |
| noise levels | sigma {prior.sigma_min:.4g} to {prior.sigma_max:.4g} (network units) |
| image | {prior.intensity.scale:g} x network + {prior.intensity.offset:g} {prior.intensity.unit or ""} |
"""
