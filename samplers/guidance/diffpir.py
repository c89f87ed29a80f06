"""DiffPIR: the denoised image, then the proximal point of the data term."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scoreinv.samplers.guidance.base import Guidance, coupled
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import positive, within
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class DiffPIR(Guidance):
    """Zhu et al. 2023 (CVPR workshops), eq. 11 to 13: x = argmin -log p(y | x) + lambda / (2 sigma^2) |x - x0|^2.

    It is DDS with r = sigma / sqrt(lambda) and a solve to convergence. The published renoising,
    sqrt(1 - zeta) eps + sqrt(zeta) n, is `DDIM(eta=sqrt(zeta), split="dds")`.

    Args:
        strength: lambda, weight of the denoised image.
        iterations: of conjugate gradients, at most.
        tolerance: relative residual at which they stop.
    """

    strength: float = 1.0
    iterations: int = 30
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        positive(self, "strength")
        within(self, 1, math.inf, "iterations")
        within(self, 0, 1, "tolerance")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0 = problem.prior.denoise(z, sigma)
        data = Quadratic.at(x0, problem)
        solution = data.solve(data.pull, self.strength / sigma**2, self.iterations, self.tolerance)
        x = coupled(x0 + solution.x, sigma, problem)
        return Estimate(x, (z - x) / sigma, x0, data.misfit, solution.iterations)
