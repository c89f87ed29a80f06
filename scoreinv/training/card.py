"""The card that travels with the weights."""

from __future__ import annotations

from fnmatch import fnmatch

from scoreinv.priors.network import NetworkPrior
from scoreinv.training.data import volume_paths
from scoreinv.training.settings import TrainSettings


def card(settings: TrainSettings, prior: NetworkPrior, steps: int) -> str:
    """Markdown: what the network saw, what it gives, and how well it did on validation slices."""
    parameters = sum(p.numel() for p in prior.network.parameters())
    phases = "; ".join(f"{p.steps} steps of {p.batch} crops of {p.crop} x {p.crop}" for p in settings.phases)
    errors = "\n".join(f"| {sigma:g} | {error:.4f} |" for sigma, error in prior.errors)
    sources = "\n".join(f"- {line}" for line in _sources(settings))
    low, high = settings.data.voxel_size
    return f"""# {settings.name}

{settings.description}

| | |
|---|---|
| modality | CT, axial slices |
| network units | HU / 1000, unclipped; air is {prior.air:g} |
| image units | {prior.intensity.unit}, x = {prior.intensity.scale:g} x_net + {prior.intensity.offset:g} |
| voxel size | {low:g} to {high:g} mm |
| noise levels | sigma {prior.sigma_min:g} to {prior.sigma_max:g} (network units) |
| preconditioning | EDM, sigma_data {prior.data_std:g} |
| parameters | {parameters:,} |
| training | {steps} steps: {phases} |

Research use, not a medical device.

## Training data

{sources}

## Validation

Rms denoising error on slices that were not trained on, network units (0.001 is 1 HU):

| sigma | error |
|---|---|
{errors}
"""


def _sources(settings: TrainSettings) -> list[str]:
    """A line for each source of the data that were in fact trained on, with what is said of its licence."""
    left = [path.name for path in volume_paths(settings.data)]
    lines = []
    for pattern, licence in settings.licences.items():
        if matched := [name for name in left if fnmatch(name, pattern)]:
            lines.append(f"{pattern}: {licence}" if matched == [pattern] else f"{len(matched)} x {pattern}: {licence}")
            left = [name for name in left if name not in matched]
    if left:
        lines.append(f"{', '.join(left) if len(left) <= 10 else f'{len(left)} volumes'}: licence not stated")
    if settings.data.phantoms:
        lines.append(f"procedural phantoms of scoreinv.phantoms ({settings.data.phantoms})")
    return lines
