"""Plug-and-play ADMM: the prior as a denoiser between data steps, and nothing sampled.

min_x -log p(y | x) - log p(x), split into x and a copy v, by the alternating direction method of multipliers with
penalty rho = 1 / sigma^2:

    v = D(x + u, sigma)                                    the denoiser, as the prior's proximal map
    u = x + u - v                                          the scaled dual
    x = argmin -log p(y | x) + |x - v + u|^2 / (2 sigma^2)  the data step

What is denoised has no noise of level sigma in it: sigma says how much of the image the denoiser may take away, and
falls from level to level as in the half-quadratic splitting of Zhang et al. 2021 (DPIR). Multipliers stay what they
are when the penalty changes, so the scaled dual is kept as u / sigma^2. For a Gaussian prior the denoiser is the
proximal map exactly and the fixed point the maximum of the posterior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.samplers.guidance.base import Guidance, coupled
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import within
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class PnPADMM(Guidance):
    """Venkatakrishnan, Bouman and Wohlberg 2013 (GlobalSIP), the diffusion network at a falling level for denoiser.

    It leaves no noise to go on with, eps = 0, so that DDIM without noise of its own goes from data step to data step.
    What the loop starts from is denoised once, without a dual. Samples differ by that start alone: their spread says
    nothing of the posterior.

    Args:
        iterations: of conjugate gradients, at most.
        tolerance: relative residual at which they stop.
    """

    iterations: int = 30
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "iterations")
        within(self, 0, 1, "tolerance")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        multiplier = history.get("multiplier")
        pushed = z if multiplier is None else z + sigma**2 * multiplier
        v = coupled(problem.prior.denoise(pushed, sigma), sigma, problem)
        # The noise of the start is no dual: nothing has been traded against the data yet.
        u = torch.zeros_like(z) if multiplier is None else pushed - v
        data = Quadratic.at(v, problem)
        solution = data.solve(data.pull - u / sigma**2, 1 / sigma**2, self.iterations, self.tolerance)
        history["multiplier"] = u / sigma**2
        return Estimate(v + solution.x, torch.zeros_like(z), v, data.misfit, solution.iterations)
