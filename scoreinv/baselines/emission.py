"""What reconstructions of emission counts begin with."""

from __future__ import annotations

from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.operators.em import EMSubset, default_subsets, em_subsets, uniform_image
from scoreinv.operators.likelihood import Poisson
from scoreinv.operators.linear import LinearOperator

LEAST_COUNTS = 500  # in a subset


def emission_data(
    name: str,
    operator: LinearOperator,
    counts: Tensor,
    likelihood: Poisson | None,
    iterations: int,
    subsets: int | None,
) -> tuple[list[EMSubset], Tensor, Tensor]:
    """The data in subsets, the uniform image with as many counts, and which voxels are seen.

    Args:
        name: of the method, for messages.
        operator, counts, likelihood, iterations, subsets: as they were given to it, and as `osem` takes them.

    Raises:
        NotImplementedError, TypeError, ValueError: as `osem` says.
    """
    likelihood = Poisson() if likelihood is None else likelihood
    if not isinstance(likelihood, Poisson):
        raise TypeError(f"{name}: likelihood is {likelihood}, expected Poisson(background)")
    check_measurements(name, operator, counts, events=True)
    likelihood.check(counts, operator.out_shape)
    views = operator.out_shape[operator.view_axis]
    subsets = _enough(default_subsets(operator), counts) if subsets is None else subsets
    if iterations < 1 or not 1 <= subsets <= max(views, 1):
        raise ValueError(
            f"{name}: iterations {iterations}, subsets {subsets}; expected iterations >= 1 and 1 <= subsets <= {views} "
            "views"
        )
    parts = em_subsets(operator, counts, likelihood, subsets)
    x, seen = uniform_image(parts)
    if not bool(seen.any()):
        raise ValueError(
            f"{name}: {operator} has zero sensitivity in every voxel; check normalisation, mask and volume"
        )
    for part in parts:
        part.likelihood.check_seen(part.operator.forward(seen.to(counts.dtype)), part.counts)
    return parts, x, seen


def _enough(subsets: int, counts: Tensor) -> int:
    """Fewer subsets where each would hold few counts: a voxel that none of one subset supports is 0 for good."""
    return max(1, min(subsets, int(counts.sum()) // LEAST_COUNTS))
