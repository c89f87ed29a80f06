"""Intervals around a mean: mean +- factor std, with the factor of theory or of calibration."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor


def factor(level: float, samples: int) -> float:
    """Half the width of an interval in units of the samples' standard deviation.

    t sqrt(1 + 1/n), t the quantile of Student's distribution with n - 1 degrees of freedom: for a Gaussian posterior
    the truth, one more draw of it, lies inside with probability `level`, however few the samples (prediction interval
    of one more observation: Geisser 1993, section 2.2).

    Raises:
        ValueError: if the level is not within (0, 1) or there are fewer than two samples.
    """
    _check_level("factor", level)
    if samples < 2:
        raise ValueError(f"factor: {samples} samples, expected at least 2; one has no spread")
    return float(stats.t.ppf(0.5 + level / 2, samples - 1)) * math.sqrt(1 + 1 / samples)


def deviations(truth: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """|truth - mean| / std, 0 where both are 0 and Inf where the spread alone is; all (*image), real."""
    distance = (truth - mean).abs()
    return torch.where(distance == 0, torch.zeros_like(distance), distance / std)


def quantiles(samples: Tensor, levels: ArrayLike) -> Tensor:
    """Quantiles of kept samples voxel by voxel, (samples, *image) -> (levels, *image), real.

    Quantile k/(n+1) is the k-th smallest of n samples, with straight lines between, which is where one more draw falls
    below with that probability; so n samples know no quantile outside [1/(n+1), n/(n+1)].

    Raises:
        ValueError: if a level lies outside; the message says how many samples it takes.
    """
    check_quantiles(levels, len(samples))
    values = np.quantile(samples.detach().cpu().numpy(), np.asarray(levels, float), axis=0, method="weibull")
    return torch.from_numpy(np.asarray(values)).to(samples)


def check_quantiles(levels: ArrayLike, samples: int) -> None:
    """Raise ValueError unless so many samples know these quantiles; the message says how many it takes."""
    asked = np.asarray(levels, dtype=float)
    rarest = float(np.minimum(asked, 1 - asked).min(initial=0.5))
    if rarest <= 0:
        raise ValueError(f"quantiles: levels are {asked.tolist()}, expected them within (0, 1)")
    if rarest * (samples + 1) < 1 - 1e-9:
        raise ValueError(
            f"quantiles: {samples} samples know none of {asked.tolist()}, expected at least "
            f"{math.ceil(1 / rarest - 1e-9) - 1} samples; draw more, or take an interval of mean and standard deviation"
        )


def exceedance(samples: Tensor, threshold: float) -> Tensor:
    """Share of the samples above a threshold in the image's unit, (samples, *image) -> (*image)."""
    return (samples > threshold).to(samples.dtype).mean(0)


def _check_level(who: str, level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"{who}: level is {level}, expected it within (0, 1); 0.9 for 90 %")
