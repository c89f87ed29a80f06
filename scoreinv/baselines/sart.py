"""SART with ordered subsets of views."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.operators.linear import LinearOperator

# Rays that only graze the volume, relative to the longest; they say nothing and would be divided by.
_GRAZING = 1e-6


def sart(
    operator: LinearOperator,
    measurements: Tensor,
    *,
    iterations: int = 10,
    subsets: int | None = None,
    relaxation: float = 1.0,
    nonnegative: bool = True,
) -> Tensor:
    """Simultaneous algebraic reconstruction with ordered subsets, from x = 0.

    x <- x + relaxation C A_i^T R_i (y_i - A_i x) for one subset i of views after another, with R_i = 1 / (A_i 1) the
    inverse lengths of the rays and C = 1 / max_i (A_i^T 1) the inverse coverage of the voxels. Taking the best covered
    subset for all keeps one volume instead of one per subset, and never makes a step longer than SART's own.

    Args:
        operator: A with views and entries >= 0, such as ConeBeamCT.
        measurements: line integrals y, (views, v, u).
        iterations: passes through all views, one forward and one adjoint each.
        subsets: number of subsets, each of views spread over the scan; 1 is SIRT, the number of views is SART. None
            takes pairs of views, but no more than 40 subsets, as many small steps carry the noise of many views along.
        relaxation: length of a step, in (0, 2).
        nonnegative: clip negative values after every step.

    Returns:
        (z, y, x), 1/mm. Voxels that no ray crosses are 0.

    Raises:
        NotImplementedError: if the operator has no views.
        TypeError, ValueError: if the measurements are not the operator's or not finite, or an option is out of its
            range.

    Andersen and Kak 1984, Ultrasonic Imaging 6:81, eq. 40; subsets: Censor and Elfving 2002, SIAM J. Matrix Anal.
    Appl. 24:40.
    """
    views = operator.out_shape[operator.view_axis]
    subsets = max(1, min(views // 2, 40)) if subsets is None else subsets
    if iterations < 1 or not 1 <= subsets <= views or not 0 < relaxation < 2:
        raise ValueError(
            f"sart: iterations {iterations}, subsets {subsets}, relaxation {relaxation}; expected iterations >= 1, "
            f"1 <= subsets <= {views} views and 0 < relaxation < 2"
        )
    check_measurements("sart", operator, measurements)
    x = measurements.new_zeros(operator.in_shape)
    parts = [(operator.subset(i, subsets), operator.measured_by(i, subsets, measurements)) for i in _spread(subsets)]
    ones = torch.ones_like(x)
    inverse_lengths = [_inverse(part.forward(ones)) for part, _ in parts]
    coverage = torch.zeros_like(x)
    for part, y in parts:
        coverage = torch.maximum(coverage, part.adjoint(torch.ones_like(y)))
    step = relaxation * _inverse(coverage)
    for _ in range(iterations):
        for (part, y), inverse_length in zip(parts, inverse_lengths, strict=True):
            x = x + step * part.adjoint(inverse_length * (y - part.forward(x)))
            if nonnegative:
                x = x.clamp(min=0)
    return x


def _spread(n: int) -> list[int]:
    """0 ... n - 1 in the order of multiples of the golden ratio, so that any few in turn lie far apart."""
    return [int(i) for i in np.argsort(np.arange(n) * (np.sqrt(5) - 1) / 2 % 1)]


def _inverse(sums: Tensor) -> Tensor:
    """1 / sums, 0 where nothing is summed."""
    seen = sums > _GRAZING * sums.max()
    return torch.where(seen, 1 / torch.where(seen, sums, 1.0), 0.0)
