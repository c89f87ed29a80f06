"""Sweeps through ordered subsets of views: the data step that SART and ASD-POCS share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators.em import GRAZING
from scoreinv.operators.linear import LinearOperator

_MOST = 40  # subsets by default: many small steps carry the noise of many views along


class OrderedSubsets:
    """x <- x + relaxation C A_i^T R_i (y_i - A_i x) for one subset i of views after another.

    R_i = 1 / (A_i 1) are the inverse lengths of the rays, C = 1 / max_i (A_i^T 1) the inverse coverage of the voxels.
    Taking the best covered subset for all keeps one volume instead of one per subset, and never makes a step longer
    than SART's own. Andersen and Kak 1984, Ultrasonic Imaging 6:81, eq. 40; subsets: Censor and Elfving 2002, SIAM J.
    Matrix Anal. Appl. 24:40.

    Args:
        operator: A with views and entries >= 0.
        measurements: y, operator.out_shape.
        subsets: how many, each of views spread over the scan; None takes pairs of views, but no more than 40.
        mask: of good data, broadcast to y; the others pull at nothing. None takes all.

    Raises:
        NotImplementedError: if the operator has no views.
    """

    def __init__(
        self, operator: LinearOperator, measurements: Tensor, subsets: int | None, mask: Tensor | None = None
    ) -> None:
        n = max(1, min(operator.out_shape[operator.view_axis] // 2, _MOST)) if subsets is None else subsets
        good = torch.ones_like(measurements) if mask is None else (mask > 0).expand_as(measurements).to(measurements)
        self._parts = []
        ones = measurements.new_ones(operator.in_shape)
        coverage = torch.zeros_like(ones)
        for i in _spread(n):
            part, seen = operator.subset(i, n), operator.measured_by(i, n, good)
            inverse_lengths = seen * _inverse(part.forward(ones))
            self._parts.append((part, operator.measured_by(i, n, measurements), inverse_lengths))
            coverage = torch.maximum(coverage, part.adjoint(seen))
        self._inverse_coverage = _inverse(coverage)

    def sweep(self, x: Tensor, relaxation: float, nonnegative: bool) -> Tensor:
        """One pass through all views, clipped after every subset if x is to be >= 0."""
        step = relaxation * self._inverse_coverage
        for part, y, inverse_lengths in self._parts:
            x = x + step * part.adjoint(inverse_lengths * (y - part.forward(x)))
            if nonnegative:
                x = x.clamp(min=0)
        return x


def _spread(n: int) -> list[int]:
    """0 ... n - 1 in the order of multiples of the golden ratio, so that any few in turn lie far apart."""
    return [int(i) for i in np.argsort(np.arange(n) * (np.sqrt(5) - 1) / 2 % 1)]


def _inverse(sums: Tensor) -> Tensor:
    """1 / sums, 0 where next to nothing is summed, as by rays that only graze the volume."""
    seen = sums > GRAZING * sums.max()
    return torch.where(seen, 1 / torch.where(seen, sums, 1.0), 0.0)
