"""Training images cut from volumes, as a pure function of a generator.

Volumes are cut across z at a random pixel size between their own and the largest asked for: slices are averaged to
about that thickness and resampled with anti-aliasing, so that a 1.5 mm scan also teaches what a 3 mm scan looks like. A
slab in the middle of every volume is kept out of training for validation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

VALIDATION_SLAB = (0.44, 0.56)  # of a volume's slices
MARGIN = 3  # slices beside the slab that belong to neither side


@dataclass(frozen=True)
class Slices:
    """Consecutive axial slices of one subject, (contrasts, z, y, x), and their voxel size (z, y, x) in mm."""

    values: Tensor
    voxel_size: tuple[float, float, float]

    def __len__(self) -> int:
        return self.values.shape[1]

    def split(self) -> tuple[list[Slices], Slices]:
        """The two training stretches and the validation slab between them."""
        first, last = (round(len(self) * part) for part in VALIDATION_SLAB)
        stretches = [self._stretch(0, max(first - MARGIN, 1)), self._stretch(last + MARGIN, len(self))]
        return [stretch for stretch in stretches if len(stretch)], self._stretch(first, max(last, first + 1))

    def _stretch(self, first: int, last: int) -> Slices:
        return Slices(self.values[:, first:last], self.voxel_size)


@dataclass(frozen=True)
class CropSampler:
    """Random crops of one or two groups of slices (patients, phantoms).

    Args:
        groups: each a list of `Slices`, drawn by number of slices within a group.
        shares: probability of each group.
        voxel_size: range of pixel sizes, mm.
        look: from a generator and a window (contrasts, crop, crop) to what a network learns (channels, crop, crop).
        fill: value of windows where they reach beyond the image.
    """

    groups: Sequence[Sequence[Slices]]
    shares: Sequence[float]
    voxel_size: tuple[float, float]
    look: Callable[[np.random.Generator, Tensor], Tensor]
    fill: float

    def draw(self, rng: np.random.Generator, batch: int, crop: int) -> Tensor:
        """(batch, channels, crop, crop), network units."""
        return torch.stack([self._one(rng, crop) for _ in range(batch)])

    def _one(self, rng: np.random.Generator, crop: int) -> Tensor:
        group = self.groups[rng.choice(len(self.groups), p=np.asarray(self.shares))]
        counts = np.array([len(slices) for slices in group], float)
        slices = group[rng.choice(len(group), p=counts / counts.sum())]
        low, high = self.voxel_size
        own = slices.voxel_size[1]
        pixel = rng.uniform(min(max(low, own), high), high)
        window = _flip(rng, _crop(rng, _resample(rng, slices, pixel), crop, self.fill))
        return self.look(rng, window)


def _resample(rng: np.random.Generator, slices: Slices, pixel: float) -> Tensor:
    """One slice (contrasts, y, x) at the wanted pixel size, about as thick as its pixels are wide."""
    thickness = min(max(1, round(pixel / slices.voxel_size[0])), len(slices))
    first = int(rng.integers(len(slices) - thickness + 1))
    image = slices.values[:, first : first + thickness].float().mean(1)
    scale = [own / pixel for own in slices.voxel_size[1:]]
    size = [max(1, round(n * factor)) for n, factor in zip(image.shape[1:], scale, strict=True)]
    if size == list(image.shape[1:]):
        return image
    return functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _crop(rng: np.random.Generator, image: Tensor, crop: int, fill: float) -> Tensor:
    """A random window, (contrasts, crop, crop), mostly of what is inside; `fill` where it reaches beyond the image."""
    missing = [max(0, crop - n) for n in image.shape[1:]]
    image = functional.pad(
        image, [missing[1] // 2, (missing[1] + 1) // 2, missing[0] // 2, (missing[0] + 1) // 2], value=fill
    )
    y, x = (int(rng.integers(n - crop + 1)) for n in image.shape[1:])
    return image[:, y : y + crop, x : x + crop]


def _flip(rng: np.random.Generator, image: Tensor) -> Tensor:
    return image.flip(-1) if rng.random() < 0.5 else image


def rng_of(seed: int, *key: int) -> np.random.Generator:
    """A generator that depends on nothing but its key, so that a resumed run draws what an unbroken one would."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
