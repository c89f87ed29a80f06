"""What samples say of a region: means and contrasts with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import Image
from scoreinv.uncertainty.intervals import factor


@dataclass(frozen=True)
class Estimate:
    """A number and where it may lie, in the unit of the image.

    Attributes:
        mean, std: over the samples.
        low, high: ends of the interval.
        level: probability that it claims, uncalibrated.
    """

    mean: float
    std: float
    low: float
    high: float
    level: float


def ball(grid: Image, centre: Sequence[float], radius: float) -> Tensor:
    """Voxels of a grid whose middle is within a radius (mm) of a world position (S, P, L), mm; (z, y, x) bool."""
    index = np.indices(grid.data.shape).reshape(3, -1) * np.array(grid.voxel_size)[:, None]
    world = grid.direction @ index + np.array(grid.origin)[:, None]
    inside = np.linalg.norm(world - np.array(centre)[:, None], axis=0) <= radius
    return torch.from_numpy(inside.reshape(grid.data.shape))


def region_means(samples: Tensor, mask: Tensor) -> Tensor:
    """Mean of every sample in a mask; (samples, *image), (*image) bool -> (samples,) float64.

    Raises:
        ValueError: if the mask is of another shape or empty.
    """
    if mask.shape != samples.shape[1:] or not bool(mask.any()):
        raise ValueError(
            f"region_means: mask has shape {tuple(mask.shape)} and {int(mask.sum())} voxels, expected "
            f"{tuple(samples.shape[1:])} and at least 1; draw it on the image's grid"
        )
    return samples[:, mask].double().mean(1)


def contrasts(samples: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """Mean in a mask less that in another, of every sample, (samples,) float64."""
    return region_means(samples, mask) - region_means(samples, background)


def estimate(values: Tensor, level: float = 0.9) -> Estimate:
    """One number per sample, (samples,), as their mean and interval: mean +- `factor(level, samples)` std."""
    wide, mean, std = factor(level, len(values)), float(values.mean()), float(values.std())
    return Estimate(mean, std, mean - wide * std, mean + wide * std, level)
