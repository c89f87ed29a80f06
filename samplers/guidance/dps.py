"""Diffusion posterior sampling: the likelihood's gradient, taken through the network.

Chung et al. 2023 (ICLR, eq. 11) approximate p(y | z) by p(y | x0(z)), whose gradient is J^T s A^H (-g) with (g, w)
gradient and weight of the likelihood at A(s x0 + o) and J = d x0 / d z. How far to follow it is a hand-tuned constant
there. Tweedie's second-order formula says more: sigma^2 J is the covariance of x0 given z, so that the posterior mean
minimises

    1/2 delta^T (sigma^2 J)^-1 delta + g^T s A delta + 1/2 s^2 |A delta|^2_W,

for which d = -sigma^2 J^T s A^H g is the preconditioned direction of steepest descent, and the minimum along it is at
d <p, d> / (<p, d> + s^2 |A d|^2_W) with p = -s A^H g. No constant is left to tune, no step overshoots, and the step is
exact where the operator is orthonormal and the prior isotropic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.operators.solvers import dot
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class DPS(Guidance):
    """Gradient guidance through the prior; needs two network passes and one backward pass a step.

    Args:
        strength: factor on the step; 1 goes to the minimum along the gradient.
    """

    strength: float = 1.0

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Estimate:
        A, prior, coupling = problem.operator, problem.prior, problem.coupling
        s, ndim = prior.intensity.scale, len(A.in_shape)
        x0, vjp = prior.linearise(z, sigma)
        expected = A.forward(prior.intensity.to_image(x0))
        g, w = problem.likelihood.quadratic(expected, problem.measurements)
        p = -s * A.adjoint(g)
        d = sigma**2 * vjp(p)
        # A network's Jacobian is only nearly positive: never step uphill.
        descent = dot(p, d, ndim).clamp(min=0)
        Ad = A.forward(d)
        curvature = s**2 * dot(Ad, w * Ad, len(A.out_shape)).reshape(descent.shape)
        step = descent / (descent + curvature).clamp(min=torch.finfo(torch.float32).tiny)
        x = x0 + self.strength * step * d
        if coupling is not None:
            x = coupling.prox(x, coupling.strength * prior.error(sigma), ndim)
        misfit = problem.likelihood.negative_log(expected, problem.measurements, len(A.out_shape))
        return Estimate(x, (z - x) / sigma, misfit)
