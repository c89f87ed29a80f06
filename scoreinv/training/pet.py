"""PET: uptake of FDG in heads and bodies, with an MR image of the same head as a reference.

A slice is seen at the scale of its volume, found as `solve` finds it. That scale hangs on what the volume holds and on
noise, so it is varied at random; and slices through legs and brain of one volume differ more than that by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import Image
from scoreinv.priors.intensity import IntensityMap
from scoreinv.training.modality import Modality, one_grid
from scoreinv.training.mr import WEIGHTINGS, recontrast
from scoreinv.training.slices import Slices, rng_of

SCALE = IntensityMap(threshold=0.5)
STORED = 500.0  # of an int16 for 1 in network units
BRIGHTEST = 2.0  # of a reference: 99.5 % of a head's magnitudes lie below about twice their mean
HEAD, BODY = 240.0, 400.0  # mm, fields of view of the phantoms
SLICES, SPACING = 28, 4.0  # of a phantom, mm: near enough to be blurred across
PHANTOM_STREAM = 3_000_000_000  # key of their generators, apart from those of the training steps
SCALE_SPREAD = 0.5  # of ln(scale)
REFERENCE_SPREAD = 0.25


def _stored(images: Sequence[Image]) -> Tensor:
    """Uptake first, then the contrasts of MR."""
    return torch.stack([_to_int16(image) for image in one_grid(images)])


def _to_int16(image: Tensor) -> Tensor:
    return (SCALE.fitted(image).to_network(image) * STORED).clamp(0, 32767).round().to(torch.int16)


def _phantom(seed: int, number: int, voxel_size: tuple[float, float]) -> Slices:
    """A slab of one patient: heads with two MR contrasts and bodies take turns."""
    from scoreinv.head import contrast, head
    from scoreinv.tracer import body_uptake, head_uptake

    rng = rng_of(seed, PHANTOM_STREAM, number)
    pixel = float(rng.uniform(*voxel_size))
    side = round((BODY if number % 2 else HEAD) / pixel)
    shape, spacing = (SLICES, side, side), (SPACING, pixel, pixel)
    if number % 2:
        return Slices(_to_int16(body_uptake(number, shape, spacing)[0])[None], spacing)
    tissues = head(number, shape, spacing)
    shown = rng.choice(WEIGHTINGS, 2, replace=False)
    images = [head_uptake(tissues, number), *(contrast(tissues, str(weighting), number) for weighting in shown)]
    return Slices(torch.stack([_to_int16(image) for image in images]), spacing)


def _look(rng: np.random.Generator, window: Tensor, dropout: float) -> Tensor:
    """(1 + contrasts, y, x) -> (uptake, reference)."""
    uptake, contrasts = window[0] / STORED, window[1:] / STORED
    reference = torch.zeros_like(uptake)
    if len(contrasts) and rng.random() >= dropout:
        told = contrasts[int(rng.integers(len(contrasts)))] / BRIGHTEST
        noise = torch.from_numpy(rng.standard_normal(told.shape, dtype=np.float32))
        reference = BRIGHTEST * (recontrast(rng, told) + 0.03 * noise) * math.exp(rng.normal(0, REFERENCE_SPREAD))
    return torch.stack([uptake * math.exp(rng.normal(0, SCALE_SPREAD)), reference])


PET = Modality(
    title="PET, axial slices of FDG, and the magnitude of an MR image of the head as an optional reference",
    units="the mean of a volume's voxels above half its mean is 1",
    channels=1,
    references=1,
    intensity=SCALE,
    air=0.0,
    fill=0.0,
    stored=_stored,
    phantom=_phantom,
    look=_look,
)
