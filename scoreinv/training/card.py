"""The card that travels with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.network import NetworkPrior
from scoreinv.training.data import MODALITIES, subjects
from scoreinv.training.settings import TrainSettings


def card(settings: TrainSettings, prior: NetworkPrior, steps: int) -> str:
    """Markdown: what the network saw, what it gives, and how well it did on validation slices."""
    parameters = sum(p.numel() for p in prior.network.parameters())
    phases = "; ".join(f"{p.steps} steps of {p.batch} crops of {p.crop} x {p.crop}" for p in settings.phases)
    errors = "\n".join(f"| {sigma:g} | {error:.4f} |" for sigma, error in prior.errors)
    names = [path.name for paths in subjects(settings.data) for path in paths]
    sources = described(names, settings.licences, settings.data.phantoms)
    low, high = settings.data.voxel_size
    modality = MODALITIES[settings.data.kind]
    return f"""# {settings.name}

{settings.description}

| | |
|---|---|
| modality | {modality.title} |
| network units | {modality.units}; air is {prior.air:g} |
| image units | {_image_units(prior.intensity)} |
| voxel size | {low:g} to {high:g} mm |
| noise levels | sigma {prior.sigma_min:g} to {prior.sigma_max:g} (network units) |
| preconditioning | EDM, sigma_data {prior.data_std:g} |
| parameters | {parameters:,} |
| training | {steps} steps: {phases} |

Research use, not a medical device.

## Training data

{sources}

## Validation

Rms denoising error on slices that were not trained on, network units:

| sigma | error |
|---|---|
{errors}
"""


def described(names: Sequence[str], licences: Mapping[str, str], phantoms: int) -> str:
    """A line for each source of the volumes that were trained on, with what is said of its licence."""
    left, lines = list(names), []
    for pattern, licence in licences.items():
        if matched := [name for name in left if fnmatch(name, pattern)]:
            lines.append(f"{pattern}: {licence}" if matched == [pattern] else f"{len(matched)} x {pattern}: {licence}")
            left = [name for name in left if name not in matched]
    if left:
        lines.append(f"{', '.join(left) if len(left) <= 10 else f'{len(left)} volumes'}: licence not stated")
    if phantoms:
        lines.append(f"procedural phantoms of this package ({phantoms})")
    return "\n".join(f"- {line}" for line in lines)


def _image_units(intensity: IntensityMap) -> str:
    if not intensity.fixed:
        return "those of the operator; the scale is found for every scan"
    return f"{intensity.unit}, x = {intensity.scale:g} x_net + {intensity.offset:g}"
