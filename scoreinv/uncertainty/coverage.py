"""Whether the truth lies where samples say: coverage, its error, and sharpness, over cases whose truth is known.

Every case counts the same, however many voxels it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.uncertainty.intervals import deviations
from scoreinv.uncertainty.moments import Moments
from scoreinv.uncertainty.tarp import closer_share

LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))  # 5 % to 95 %


@dataclass(frozen=True)
class Observed:
    """One case, as far as calibration looks at it.

    Attributes:
        deviations: |truth - mean| / std of its voxels, (voxels,).
        std: mean of the samples' standard deviation over these voxels, unit of the image.
        closer: share of the samples nearer than the truth to a point chosen without it (TARP).
    """

    deviations: NDArray[np.float64]
    std: float
    closer: float


def observe(samples: Tensor, truth: Tensor, elsewhere: Tensor, mask: Tensor) -> Observed:
    """Compare samples with the truth.

    Args:
        samples: (samples, *image), real; magnitudes of complex images.
        truth: (*image).
        elsewhere: point to measure distances from, (*image), chosen without the truth: that of another case.
        mask: voxels that count, (*image) bool, chosen without the truth.

    Raises:
        ValueError: if the mask is empty.
    """
    if not bool(mask.any()):
        raise ValueError("observe: no voxel counts, expected at least 1; lower the share that makes the region")
    moments = Moments()
    for sample in samples:
        moments.add(sample)
    away = deviations(truth.double(), moments.mean, moments.std)[mask]
    return Observed(
        away.cpu().numpy(),
        float(moments.std[mask].mean()),
        closer_share(samples[:, mask], truth[mask], elsewhere[mask]),
    )


def patient(image: Tensor, share: float = 0.1) -> Tensor:
    """Voxels above a share of the 99.5th percentile of an image >= 0, (*image) bool: the patient without the air."""
    return image > share * float(np.percentile(image.detach().cpu().numpy(), 99.5))


def coverage(cases: Sequence[Observed], factors: Sequence[float]) -> NDArray[np.float64]:
    """How much of each case lies within mean +- factor std, (cases, factors)."""
    return np.array([[float((case.deviations <= f).mean()) for f in factors] for case in cases])


def calibration_error(levels: Sequence[float], covered: Sequence[float]) -> float:
    """Expected calibration error: mean of |covered - level| over the levels."""
    return float(np.abs(np.asarray(covered) - np.asarray(levels)).mean())


def sharpness(cases: Sequence[Observed], factor: float) -> float:
    """Mean width of intervals of a factor, in the unit of the image: of two that cover alike the narrower is better."""
    return float(2 * factor * np.mean([case.std for case in cases]))
