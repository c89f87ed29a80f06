"""Expectation maximisation for emission data, with ordered subsets."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.operators.likelihood import Poisson
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.scanner import herman_meyer

# Voxels that only grazing lines see, relative to the best seen: too little to be divided by.
_GRAZING = 1e-6


def osem(
    operator: LinearOperator,
    counts: Tensor,
    *,
    likelihood: Poisson | None = None,
    iterations: int = 4,
    subsets: int | None = None,
) -> Tensor:
    """Maximum likelihood from counts y ~ Poisson(A x + b), from a uniform image.

    x <- x / (A_i^T m) A_i^T (m y_i / (A_i x + b_i)) for one subset i of views after another, in the order of Herman and
    Meyer; m is the mask. One subset is MLEM: every iteration raises the likelihood, and without background and
    resolution losses keeps the counts, sum(A x) = sum(y). More are that many times faster, and end in a small cycle.

    Args:
        operator: A with entries >= 0, and views if subsets are more than 1; such as PET or ListModePET.
        counts: y, operator.out_shape; for ListModePET ones.
        likelihood: background and mask; Poisson() if None.
        iterations: passes through all data; noise grows with them.
        subsets: number of subsets, each of views spread over the scan; None takes four views or more each, but no more
            than 14 subsets.

    Returns:
        (z, y, x), >= 0, in the unit in which A gives counts. Voxels that no line sees are 0.

    Raises:
        NotImplementedError: if there are subsets and the operator has no views.
        TypeError, ValueError: if the counts are not the operator's, negative, not finite, or where none can be; if the
            likelihood is not `Poisson` or does not fit them; if no voxel is seen; or an option is out of its range.

    Shepp and Vardi 1982, IEEE TMI 1:113, eq. 2.13; subsets: Hudson and Larkin 1994, IEEE TMI 13:601, eq. 6.
    """
    likelihood = Poisson() if likelihood is None else likelihood
    if not isinstance(likelihood, Poisson):
        raise TypeError(f"osem: likelihood is {likelihood}, expected Poisson(background)")
    views = operator.out_shape[operator.view_axis]
    subsets = max(1, min(views // 4, 14)) if subsets is None else subsets
    if iterations < 1 or not 1 <= subsets <= max(views, 1):
        raise ValueError(
            f"osem: iterations {iterations}, subsets {subsets}; expected iterations >= 1 and 1 <= subsets <= {views} "
            "views"
        )
    check_measurements("osem", operator, counts)
    likelihood.check(counts, operator.out_shape)
    if likelihood.mask is not None:
        counts = torch.where(likelihood.mask > 0, counts * likelihood.mask, 0.0)  # in EM weights go with the counts
    parts = [_Part(operator, counts, likelihood, i, subsets) for i in herman_meyer(subsets)]
    sensitivity = torch.stack([part.sensitivity for part in parts]).sum(0)
    seen = sensitivity > _GRAZING * sensitivity.max()
    if not bool(seen.any()):
        raise ValueError(f"osem: {operator} has zero sensitivity in every voxel; check normalisation, mask and volume")
    ones = seen.to(counts.dtype)
    for part in parts:
        part.likelihood.check_seen(part.operator.forward(ones), part.counts)
    # The uniform image with as many counts as were measured. In list mode sum(A x) is not to be had from the events.
    x = ones * float(counts.double().sum() / (sensitivity * ones).double().sum())
    for _ in range(iterations):
        for part in parts:
            x = part.update(x, seen)
    return x


class _Part:
    """What is measured in one subset of the views."""

    def __init__(self, operator: LinearOperator, counts: Tensor, likelihood: Poisson, i: int, n: int) -> None:
        self.operator = operator.subset(i, n) if n > 1 else operator
        self.counts = operator.measured_by(i, n, counts)
        self.likelihood = likelihood.subset(i, n, counts.ndim, operator.view_axis)
        self.sensitivity = self._sensitivity()

    def update(self, x: Tensor, seen: Tensor) -> Tensor:
        """One step of EM; voxels of little sensitivity in this subset stay as they are."""
        mean = self.operator.forward(x) + self.likelihood.background
        ratio = torch.where(mean > 0, self.counts / torch.where(mean > 0, mean, 1.0), 0.0)
        here = self.sensitivity > _GRAZING * self.sensitivity.max()
        factor = self.operator.adjoint(ratio) / torch.where(here, self.sensitivity, 1.0)
        return torch.where(here, x * factor, x) * seen

    def _sensitivity(self) -> Tensor:
        mask = self.likelihood.mask
        if mask is not None:
            return self.operator.adjoint((self.counts.new_ones(()) * mask).expand_as(self.counts).contiguous())
        own = getattr(self.operator, "sensitivity", None)
        return self.operator.adjoint(torch.ones_like(self.counts)) if own is None else own()
