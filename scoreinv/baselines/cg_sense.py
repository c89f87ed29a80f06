"""CG-SENSE: parallel MRI by regularised least squares, for any sampling."""

from __future__ import annotations

from torch import Tensor

from scoreinv.baselines.checks import check_complex, check_measurements
from scoreinv.baselines.strengths import white_noise_response
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import conjugate_gradients


def cg_sense(operator: LinearOperator, k_space: Tensor, *, iterations: int = 30, regularisation: float = 0.1) -> Tensor:
    """min_x ||A x - y||^2 + lambda ||x||^2 by conjugate gradients on (A^H A + lambda) x = A^H y, from x = 0.

    lambda = regularisation H with H = E ||A n||^2 / voxels, the mean curvature along white noise n; for Cartesian
    sampling with normalised coil maps H is the share of k-space that was sampled. So the same regularisation does the
    same whatever the units of data and operator.

    Args:
        operator: A, such as CartesianMRI or NonCartesianMRI with its coil maps.
        k_space: y, (*batch, *operator.out_shape), complex.
        iterations: at most so many, one application of A^H A each.
        regularisation: noise that is amplified where coils hardly tell voxels apart is damped at the cost of a little
            contrast; the default suits noise of 1 % of the image. 0 leaves that to the number of iterations.

    Returns:
        (*batch, *operator.in_shape), complex, unit of the k-space.

    Raises:
        TypeError: for a real operator, or k-space of another dtype.
        ValueError: for k-space of another shape, NaN or Inf, or an option out of its range.

    Pruessmann et al. 2001, Magn. Reson. Med. 46:638, eq. 16 to 22, without density weights: these are least squares
    in the noise of the data.
    """
    check_complex("cg_sense", operator)
    if iterations < 1 or not regularisation >= 0:
        raise ValueError(
            f"cg_sense: iterations {iterations}, regularisation {regularisation}; expected iterations >= 1 and "
            "regularisation >= 0"
        )
    check_measurements("cg_sense", operator, k_space, batch=True)
    weight = regularisation * white_noise_response(operator, k_space.device) ** 2
    return conjugate_gradients(
        lambda x: operator.normal(x) + weight * x, operator.adjoint(k_space), len(operator.in_shape), iterations
    ).x
