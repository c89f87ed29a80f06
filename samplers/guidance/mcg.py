"""Manifold-constrained gradient: a gradient step through the network, then a projection on the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.operators.solvers import dot
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.pocs import projection
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import within
from scoreinv.samplers.state import Estimate, Problem

SIGMA_MAX, SIGMA_MIN = 378.0, 0.01  # of the published schedule


@dataclass(frozen=True)
class MCG(Guidance):
    """Chung et al. 2022 (NeurIPS), eq. 14 and 15, after the unguided step.

    The state first moves by -strength grad_z ||A^+ (y - A x0)||, then is projected on the data by relaxation. The norm
    is of each sample, and A^+ a few conjugate gradient iterations.

    Args:
        strength: of the gradient step, network units.
        relaxation: of the projection, 0 to 1, at the published sigma_max 378, from where it goes evenly in log sigma
        last_relaxation: to this at the published sigma_min 0.01 and below.
        iterations: of conjugate gradients.
    """

    couples = ()
    strength: float = 0.1
    relaxation: float = 1.0
    last_relaxation: float = 1.0
    iterations: int = 5

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "strength")
        within(self, 0, 1, "relaxation", "last_relaxation")
        within(self, 1, math.inf, "iterations")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0, vjp = problem.prior.linearise(z, sigma)
        data = Quadratic.at(x0, problem)
        # v = A^+ (y - A x0) lies in the row space, where d v / d x0 = -I: the gradient of ||v|| is -J^T v / ||v||.
        v = data.solve(data.pull, 0.0, self.iterations, 1e-4).x
        length = dot(v, v, data.ndim).sqrt().clamp(min=torch.finfo(torch.float32).tiny)
        history["gradient"] = -vjp(v / length)
        return Estimate(x0, (z - x0) / sigma, x0, data.misfit)

    def correct(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Tensor:
        z = z - self.strength * history.pop("gradient")
        # The published steps are even in log sigma, so that this is their schedule by number of step.
        share = math.log(max(sigma, SIGMA_MIN) / SIGMA_MIN) / math.log(SIGMA_MAX / SIGMA_MIN)
        relaxation = self.last_relaxation + min(share, 1.0) * (self.relaxation - self.last_relaxation)
        return z + relaxation * projection(z, problem, self.iterations)
