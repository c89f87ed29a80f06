"""Projection onto convex sets: the noisy state is made to agree with the measurements after every step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import within
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class POCS(Guidance):
    """Chung and Ye 2022 (score-MRI), eq. 18 and algorithm 2: z + A^+ (y - A z), in place of the measured part of z.

    The published replacement of k-space lines is this projection for a Cartesian mask; here A^+ is a few conjugate
    gradient iterations and any linear operator will do. Measurements count as if they had no noise, at every level.

    Args:
        relaxation: share of the way to the projection, 0 to 1.
        iterations: of conjugate gradients.
    """

    couples = ()
    relaxation: float = 1.0
    iterations: int = 5

    def __post_init__(self) -> None:
        within(self, 0, 1, "relaxation")
        within(self, 1, math.inf, "iterations")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0 = problem.prior.denoise(z, sigma)
        return Estimate(x0, (z - x0) / sigma, x0)

    def correct(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Tensor:
        return z + self.relaxation * projection(z, problem, self.iterations)


def projection(z: Tensor, problem: Problem, iterations: int) -> Tensor:
    """The shortest way from z to agreement with the data, as far as a few conjugate gradient iterations take it."""
    data = Quadratic.at(z, problem)
    return data.solve(data.pull, 0.0, iterations, 1e-4).x
