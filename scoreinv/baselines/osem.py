"""Expectation maximisation for emission data, with ordered subsets."""

from __future__ import annotations

from torch import Tensor

from scoreinv.baselines.emission import emission_data
from scoreinv.operators.em import em_step
from scoreinv.operators.likelihood import Poisson
from scoreinv.operators.linear import LinearOperator


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
        subsets: number of subsets, each of views spread over the scan; None takes four views and 500 counts or more
            each, but no more than 14 subsets, and one where there are no views.

    Returns:
        (z, y, x), >= 0, in the unit in which A gives counts. Voxels that no line sees are 0.

    Raises:
        NotImplementedError: if there are subsets and the operator has no views.
        TypeError, ValueError: if the counts are not the operator's, negative, not finite, or where none can be; if the
            likelihood is not `Poisson` or does not fit them; if no voxel is seen; or an option is out of its range.

    Shepp and Vardi 1982, IEEE TMI 1:113, eq. 2.13; subsets: Hudson and Larkin 1994, IEEE TMI 13:601, eq. 6.
    """
    parts, x, seen = emission_data("osem", operator, counts, likelihood, iterations, subsets)
    for _ in range(iterations):
        for part in parts:
            x = em_step(part, x, seen)
    return x


def mlem(
    operator: LinearOperator, counts: Tensor, *, likelihood: Poisson | None = None, iterations: int = 40
) -> Tensor:
    """`osem` with one subset: the likelihood rises at every iteration. Arguments and errors are those of `osem`."""
    return osem(operator, counts, likelihood=likelihood, iterations=iterations, subsets=1)
