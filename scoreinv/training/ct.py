"""CT: one contrast in HU, network units HU/1000."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import Image
from scoreinv.priors.intensity import IntensityMap
from scoreinv.training.modality import Modality
from scoreinv.training.slices import Slices, rng_of

FIELD_OF_VIEW = 400.0  # mm, of the phantoms
PHANTOM_STREAM = 1_000_000_000  # key of their generators, apart from those of the training steps


def _stored(images: Sequence[Image]) -> Tensor:
    if len(images) > 1:
        raise ValueError(f"train: {len(images)} files of one subject, expected one: CT has a single contrast")
    return images[0].data.to(torch.int16)[None]


def _phantom(seed: int, number: int, voxel_size: tuple[float, float]) -> Slices:
    """Widely spaced slices of one anatomy: thin samples of many bodies teach more than every slice of a few."""
    from scoreinv.phantoms import body

    rng = rng_of(seed, PHANTOM_STREAM, number)
    pixel = float(rng.uniform(*voxel_size))
    side = round(FIELD_OF_VIEW / pixel)
    spacing = (float(rng.uniform(8, 16)), pixel, pixel)
    hu = body(number, (12, side, side), spacing)
    return Slices(hu.round().clamp(-1024, 32767).to(torch.int16)[None], spacing)


def _look(rng: np.random.Generator, window: Tensor, dropout: float) -> Tensor:
    return window / 1000


CT = Modality(
    title="CT, axial slices",
    units="HU / 1000, unclipped",
    channels=1,
    references=0,
    intensity=IntensityMap.attenuation(),
    air=-1.0,
    fill=-1000.0,
    stored=_stored,
    phantom=_phantom,
    look=_look,
)
