"""SART with ordered subsets of views."""

from __future__ import annotations

from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.baselines.ordered_subsets import OrderedSubsets
from scoreinv.operators.linear import LinearOperator


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
    inverse lengths of the rays and C = 1 / max_i (A_i^T 1) the inverse coverage of the voxels (`OrderedSubsets`).

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
    if iterations < 1 or not (subsets is None or 1 <= subsets <= views) or not 0 < relaxation < 2:
        raise ValueError(
            f"sart: iterations {iterations}, subsets {subsets}, relaxation {relaxation}; expected iterations >= 1, "
            f"1 <= subsets <= {views} views and 0 < relaxation < 2"
        )
    check_measurements("sart", operator, measurements)
    ordered = OrderedSubsets(operator, measurements, subsets)
    x = measurements.new_zeros(operator.in_shape)
    for _ in range(iterations):
        x = ordered.sweep(x, relaxation, nonnegative)
    return x
