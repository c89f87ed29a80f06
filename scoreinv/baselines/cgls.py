"""Least squares by conjugate gradients, for any linear operator."""

from __future__ import annotations

from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import conjugate_gradients


def cgls(operator: LinearOperator, measurements: Tensor, *, iterations: int = 15, tolerance: float = 1e-4) -> Tensor:
    """min_x ||A x - y||^2 by conjugate gradients on A^H A x = A^H y, from x = 0.

    Large structures come first and noise last, so the number of iterations is the regularisation: fewer for noisier or
    sparser data.

    Args:
        operator: A, real or complex.
        measurements: y, (*batch, *operator.out_shape); the items of a batch converge independently.
        iterations: at most so many, one forward and one adjoint each.
        tolerance: stop at ||A^H (y - A x)|| <= tolerance ||A^H y||.

    Returns:
        (*batch, *operator.in_shape), unit of the measurements over that of the operator; 1/mm for CT.

    Raises:
        TypeError: if the measurements' dtype is not the operator's.
        ValueError: if their shape is not, for NaN or Inf, or without an iteration.

    Hestenes and Stiefel 1952, J. Res. NBS 49:409, section 10.
    """
    if iterations < 1:
        raise ValueError(f"cgls: iterations is {iterations}, expected at least 1")
    check_measurements("cgls", operator, measurements, batch=True)
    b = operator.adjoint(measurements)
    return conjugate_gradients(operator.normal, b, len(operator.in_shape), iterations, tolerance).x
