"""Whether samples fit their data as well as noise allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.operators import Likelihood, LinearOperator, Poisson


@dataclass(frozen=True)
class Misfit:
    """Reduced chi-square of each sample.

    Attributes:
        chi_square: (samples,): 1 where the data are missed by their noise, more where they contradict the sample, less
            where noise was fitted.
        width: standard deviation of it at the truth, sqrt(2 / data); of counts of means m it is more,
            sqrt(sum(2 + 1 / m)) / data.
    """

    chi_square: Tensor
    width: float


def misfit(operator: LinearOperator, measurements: Tensor, likelihood: Likelihood, samples: Tensor) -> Misfit:
    """sum |g|^2 / w over the data seen, by their number, with (g, w) of the likelihood at every sample.

    Complex data count twice, since sigma is per real component; lines that can have no counts, and have none, do not
    count. One sample goes through the operator at a time.

    Args:
        samples: (samples, *image).

    Raises:
        ValueError: in list mode, whose events leave out the lines without any.
    """
    if operator.partial:
        raise ValueError(
            f"misfit: {operator} knows of events but not of the lines without any; expected the operator of their "
            "histogram, and its counts"
        )
    values, seen = [], 0
    for sample in samples:
        expected = operator.forward(sample)
        g, w = likelihood.quadratic(expected, measurements)
        good = w > 0
        if isinstance(likelihood, Poisson):
            good &= (expected + likelihood.background > 0) | (measurements > 0)
        seen = int(good.sum()) * (2 if measurements.is_complex() else 1)
        values.append(float((g.abs().square() / torch.where(good, w, 1.0))[good].double().sum()) / seen)
    return Misfit(torch.tensor(values, dtype=torch.float64), math.sqrt(2 / seen))
