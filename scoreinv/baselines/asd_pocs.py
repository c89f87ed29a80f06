"""ASD-POCS: total variation as low as the noise of the data allows."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.baselines.differences import axis_scales, gradient, length, transposed_gradient
from scoreinv.baselines.ordered_subsets import OrderedSubsets
from scoreinv.baselines.strengths import default_likelihood
from scoreinv.operators.likelihood import Gaussian
from scoreinv.operators.linear import LinearOperator

# Control parameters, in the paper's letters. Those are for hundreds of iterations, these reach the tolerance in tens:
# published are alpha_red = 0.95, r_max = 0.95 and N_grad = 20.
_FIRST_STEP = 0.2  # alpha, of a descent step, relative to the change by a sweep
_STEP_KEPT = 0.8  # alpha_red, where descent undoes the sweep while the data are not met
_MOST_UNDONE = 0.8  # r_max
_RELAXATION_KEPT = 0.995  # beta_red, after every iteration
_DESCENT_STEPS = 10  # N_grad
_SUBSETS = 40  # at most; below that one a view
# Gradients below this part of the largest value of the image count as flat; there the root has no derivative.
_FLAT = 1e-6


def asd_pocs(
    operator: LinearOperator,
    measurements: Tensor,
    *,
    likelihood: Gaussian | None = None,
    tolerance: float = 1.0,
    iterations: int = 40,
) -> Tensor:
    """min TV(x) subject to ||A x - y|| <= tolerance sqrt(sum sigma^2) and x >= 0, by adaptive steepest descent.

    A sweep of SART moves the image towards the data, then a few steps of steepest descent lower its isotropic total
    variation. Their length begins in proportion to the second sweep (the first one fills the body), and shrinks
    whenever descent undoes most of what the sweep did while the data are not met: so the two end in balance at the
    tolerance, which the noise sets.

    Args:
        operator: A with views and entries >= 0, such as ConeBeamCT.
        measurements: line integrals y, (views, v, u), dimensionless.
        likelihood: noise of the data, whose masked data pull at nothing; None means sigma = 0.01 rms(y).
        tolerance: of the residual, in units of the noise that is to be expected in it.
        iterations: one adjoint and at most two forward each.

    Returns:
        (z, y, x), 1/mm, after the last sweep. Voxels that no ray crosses are what total variation makes of them.

    Raises:
        NotImplementedError: if the operator has no views.
        TypeError: for a likelihood that is not Gaussian, or measurements of another dtype.
        ValueError: for measurements of another shape, NaN or Inf, or an option out of its range.

    Sidky and Pan 2008, Phys. Med. Biol. 53:4777, with ordered subsets in place of single rays.
    """
    if not tolerance > 0 or iterations < 1:
        raise ValueError(
            f"asd_pocs: tolerance {tolerance}, iterations {iterations}; expected tolerance > 0 and iterations >= 1"
        )
    check_measurements("asd_pocs", operator, measurements)
    likelihood = default_likelihood(operator, measurements) if likelihood is None else likelihood
    if not isinstance(likelihood, Gaussian):
        raise TypeError(f"asd_pocs: likelihood is {likelihood}, expected Gaussian noise of line integrals; use tv")
    likelihood.check(measurements, operator.out_shape)
    scales = axis_scales(operator)
    subsets = min(operator.out_shape[operator.view_axis], _SUBSETS)
    ordered = OrderedSubsets(operator, measurements, subsets, likelihood.mask)
    x = measurements.new_zeros(operator.in_shape)
    relaxation, step = 1.0, 0.0
    for index in range(iterations):
        met = ordered.sweep(x, relaxation, nonnegative=True)
        if index == iterations - 1:
            break
        swept = float(torch.linalg.vector_norm(met - x))
        step = _FIRST_STEP * swept if index == 1 else step
        x = met
        for _ in range(_DESCENT_STEPS if step else 0):
            x = x - step * _direction(x, scales)
        undone = float(torch.linalg.vector_norm(x - met))
        if undone > _MOST_UNDONE * swept and discrepancy(operator, met, measurements, likelihood) > tolerance:
            step *= _STEP_KEPT
        relaxation *= _RELAXATION_KEPT
    return met


def discrepancy(operator: LinearOperator, x: Tensor, measurements: Tensor, likelihood: Gaussian) -> float:
    """||A x - y|| over what the noise of the data alone makes of it, sqrt(sum sigma^2); without masked data."""
    good = torch.ones_like(measurements) if likelihood.mask is None else (likelihood.mask > 0).to(measurements)
    residual = torch.linalg.vector_norm(good * (operator.forward(x) - measurements))
    return float(residual / torch.linalg.vector_norm(good * likelihood.sigma))


def _direction(x: Tensor, scales: tuple[float, ...]) -> Tensor:
    """The gradient of total variation as a unit vector."""
    q = gradient(x, scales)
    slope = transposed_gradient(q / length(q).clamp(min=_FLAT * float(x.abs().max()) + 1e-30), scales)
    return slope / torch.linalg.vector_norm(slope).clamp(min=1e-30)
