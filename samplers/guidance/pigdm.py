"""Pseudoinverse-guided diffusion: the likelihood of a noisy state with the uncertainty of x0 taken in.

Song et al. 2023 (ICLR, eq. 7 and 8) give x0 a covariance C under which y has covariance W^-1 + A C A^H, and follow the
gradient of that Gaussian through the network. With p and H pull and curvature of the likelihood at x0,

    x = x0 + sigma^2 J^T (I + H C)^-1 p.

The published C is isotropic, r^2 I. Tweedie's second-order formula has the true one, C = sigma^2 J, and with it

    x = x0 + (C^-1 + H)^-1 p,

the posterior mean to second order (Boys et al. 2023, Rozet et al. 2024): exact on a Gaussian prior. J enters by
vector-Jacobian products inside conjugate gradients; C^-1 is never formed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.operators.solvers import dot, gaussian_mean
from scoreinv.samplers.guidance.base import Guidance, coupled
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import within
from scoreinv.samplers.state import Estimate, Problem

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class PiGDM(Guidance):
    """Pseudoinverse guidance.

    Args:
        covariance: "isotropic" needs one backward pass a step, "jacobian" one for every iteration.
        iterations: of conjugate gradients, at most.
        tolerance: relative residual at which they stop.
    """

    covariance: str = "isotropic"
    iterations: int = 15
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if self.covariance not in ("isotropic", "jacobian"):
            raise ValueError(f"PiGDM: covariance is {self.covariance!r}, expected 'isotropic' or 'jacobian'")
        within(self, 1, math.inf, "iterations")
        within(self, 0, 1, "tolerance")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0, vjp = problem.prior.linearise(z, sigma)
        data = Quadratic.at(x0, problem)
        if self.covariance == "jacobian":
            solution = gaussian_mean(
                lambda v: sigma**2 * vjp(v), data.curvature, data.pull, data.ndim, self.iterations, self.tolerance
            )
            step = solution.x
        else:
            damping = 1 / problem.prior.error(sigma) ** 2
            solution = data.solve(damping * data.pull, damping, self.iterations, self.tolerance)
            step = sigma**2 * vjp(solution.x)
            # Where the prior is less certain than r says, the step overshoots, and diverges with it: go no further than
            # to the minimum along it, <step, C^-1 step> being <step, (I + H C)^-1 p> for C = sigma^2 J.
            climb = dot(step, solution.x, data.ndim) + data.along(step)
            step = step * (dot(data.pull, step, data.ndim) / climb.clamp(min=TINY)).clamp(0, 1)
        x = coupled(x0 + step, sigma, problem)
        return Estimate(x, (z - x) / sigma, x0, data.misfit, solution.iterations)
