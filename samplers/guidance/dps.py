"""Diffusion posterior sampling: the likelihood's gradient, taken through the network.

Chung et al. 2023 (ICLR, eq. 11) approximate p(y | z) by p(y | x0(z)), whose gradient is J^T p with p the pull of the
measurements at x0 and J = d x0 / d z. How far to follow it is a hand-tuned constant there (`DPSShift`). Tweedie's
second-order formula says more: sigma^2 J is the covariance of x0 given z, so that the posterior mean minimises

    1/2 delta^T (sigma^2 J)^-1 delta - p^T delta + 1/2 delta^T H delta,

for which d = sigma^2 J^T p is the preconditioned direction of steepest descent, and the minimum along it is at
d <p, d> / (<p, d> + <d, H d>). No constant is left to tune, no step overshoots, and the step is exact where the
operator is orthonormal and the prior isotropic. `PiGDM` goes on along conjugate directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.operators import Gaussian
from scoreinv.operators.solvers import dot
from scoreinv.samplers.guidance.base import Guidance, coupled
from scoreinv.samplers.guidance.quadratic import Quadratic, featureless_norm
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import within
from scoreinv.samplers.state import Estimate, Problem

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class DPS(Guidance):
    """Gradient guidance through the prior; needs two network passes and one backward pass a step.

    Args:
        strength: factor on the step; 1 goes to the minimum along the gradient.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "strength")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0, vjp = problem.prior.linearise(z, sigma)
        data = Quadratic.at(x0, problem)
        d = sigma**2 * vjp(data.pull)
        # A network's Jacobian is only nearly positive: never step uphill.
        descent = dot(data.pull, d, data.ndim).clamp(min=0)
        step = descent / (descent + data.along(d)).clamp(min=TINY)
        x = coupled(x0 + self.strength * step * d, sigma, problem)
        return Estimate(x, (z - x) / sigma, x0, data.misfit)


@dataclass(frozen=True)
class DPSShift(Guidance):
    """DPS as published: the unguided step, then a shift of the noisy state (algorithm 1, lines 6 and 7).

    In the paper's variable x = z / sqrt(1 + sigma^2) the shift is -zeta times the gradient of the un-squared norm
    ||y - A x0||, taken at the state before the step; in z it is -zeta sqrt(1 + sigma^2) sqrt(1 + sigma'^2) grad_z.
    Norms are of each sample (over a batch in the published code), and the operator counts with norm 1, which those of
    the paper have.

    Args:
        zeta: step, 0.3 to 1 in the paper.
    """

    couples = ()
    zeta: float = 1.0

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "zeta")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0, vjp = problem.prior.linearise(z, sigma)
        data = Quadratic.at(x0, problem)
        if not isinstance(problem.likelihood, Gaussian):
            raise ValueError(
                f"DPSShift: the published step is along ||y - A x0||, which is no likelihood of {problem.likelihood}; "
                "expected Gaussian noise, or use DPS"
            )
        # For Gaussian noise the misfit is half the squared norm of the whitened residual.
        distance = (2 * data.misfit).clamp(min=TINY).sqrt().reshape(*data.misfit.shape, *[1] * data.ndim)
        shift = vjp(data.pull) / (distance * math.sqrt(featureless_norm(problem)))
        history["shift"] = self.zeta * math.sqrt(1 + sigma**2) * shift
        return Estimate(x0, (z - x0) / sigma, x0, data.misfit)

    def correct(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Tensor:
        return z + math.sqrt(1 + sigma**2) * history.pop("shift")
