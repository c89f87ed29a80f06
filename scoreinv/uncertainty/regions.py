"""What samples say of a region: means and contrasts with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

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
    mean, std = float(values.mean()), float(values.std()) if len(values) > 1 else 0.0
    half = factor(level, len(values)) * std
    return Estimate(mean, std, mean - half, mean + half, level)
