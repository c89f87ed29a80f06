"""Decoupled annealing: sample x0 anew at every level, forgetting the path that led there."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scoreinv.samplers.guidance.base import Guidance, coupled
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.schedules import edm
from scoreinv.samplers.settings import within
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class DAPS(Guidance):
    """Zhang et al. 2025 (CVPR), algorithm 1; the stepper that goes with it is `DDIM(eta=1, split="dds")`.

    The probability flow carries z to an image x0 in a few steps, and x is drawn from N(x0, r^2 I) p(y | x). The paper
    draws by a hundred Langevin steps with a tuned rate; where the likelihood is quadratic their limit is a Gaussian,
    drawn here exactly by perturbing both terms and solving (Papandreou and Yuille 2010):
    x = x0 + (I / r^2 + H)^-1 (p + n1 / r + s A^H sqrt(w) n2).

    Args:
        ode_steps: network evaluations a level.
        iterations: of conjugate gradients, at most.
        tolerance: relative residual at which they stop.
    """

    ode_steps: int = 5
    iterations: int = 30
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "ode_steps", "iterations")
        within(self, 0, 1, "tolerance")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        A, prior = problem.operator, problem.prior
        x0 = z
        floor = max(sigma / 50, prior.sigma_min)
        levels = edm(self.ode_steps, sigma, floor).tolist() if sigma > floor else [sigma, 0.0]
        for level, below in itertools.pairwise(levels):
            D = prior.denoise(x0, level)
            x0 = D + below / level * (x0 - D)
        data = Quadratic.at(x0, problem)
        r = prior.error(sigma)
        perturbation = data.weight.sqrt() * noise(A.out_shape, A.out_dtype)
        b = data.pull + noise() / r + prior.intensity.scale * A.adjoint(perturbation.to(A.out_dtype))
        solution = data.solve(b, 1 / r**2, self.iterations, self.tolerance)
        x = coupled(x0 + solution.x, sigma, problem)
        return Estimate(x, (z - x) / sigma, x0, data.misfit, solution.iterations)
