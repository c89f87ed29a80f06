"""Diffusion posterior sampling: the likelihood's gradient, taken through the network.

Chung et al. 2023 (ICLR, eq. 11) approximate p(y | z) by p(y | x0(z)). That ignores that x0 is itself uncertain by r, and
makes the gradient explode as the noise of the data falls. Here the width of the estimate is kept, as a Gaussian of
standard deviation r around it seen through the operator: with (g, w) gradient and weight of the likelihood and
J = d x0 / d z,

    x = x0 - zeta sigma^2 J^T s A^H g / (1 + w s^2 r^2 ||A||^2).

The factor is exact where A A^H = ||A||^2 I, and cautious elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class DPS(Guidance):
    """Gradient guidance through the prior; needs two network passes and one backward pass a step.

    Args:
        strength: zeta; 1 is Tweedie's formula.
    """

    strength: float = 1.0

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Estimate:
        A, prior, coupling = problem.operator, problem.prior, problem.coupling
        s, ndim = prior.intensity.scale, len(A.in_shape)
        x0, vjp = prior.linearise(z, sigma)
        r = prior.error(sigma)
        expected = A.forward(prior.intensity.to_image(x0))
        g, w = problem.likelihood.quadratic(expected, problem.measurements)
        pull = s * A.adjoint(g / (1 + w * (s * r * A.norm()) ** 2))
        x = x0 - self.strength * sigma**2 * vjp(pull)
        if coupling is not None:
            x = coupling.prox(x, coupling.strength * r, ndim)
        misfit = problem.likelihood.negative_log(expected, problem.measurements, len(A.out_shape))
        return Estimate(x, (z - x) / sigma, misfit)
