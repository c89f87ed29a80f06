"""Heun's second-order method with churn, the sampler of EDM."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import positive
from scoreinv.samplers.state import State
from scoreinv.samplers.steppers.base import Denoise, Stepper


@dataclass(frozen=True)
class Heun(Stepper):
    """Karras et al. 2022, algorithm 2: two evaluations a step, one in the last.

    Args:
        churn: relative rise of the noise level before each step, gamma_i of the paper, at most sqrt(2) - 1; 0 follows
            the probability flow. The level may rise above the schedule's first, but not above what the prior knows.
        churn_range: levels at which it rises.
        noise_factor: S_noise of the paper.
    """

    churn: float = 0.0
    churn_range: tuple[float, float] = (0.0, math.inf)
    noise_factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.churn <= math.sqrt(2) - 1 + 1e-9:
            raise ValueError(f"Heun: churn is {self.churn}, expected 0 to sqrt(2) - 1 = 0.414")
        low, high = self.churn_range
        if not 0 <= low <= high:
            raise ValueError(f"Heun: churn_range is {self.churn_range}, expected 0 <= lowest <= highest level")
        positive(self, "noise_factor")

    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        z = state.z
        if self.churn and self.churn_range[0] <= sigma <= self.churn_range[1]:
            raised = max(sigma, min(sigma * (1 + self.churn), denoise.sigma_max))
            z = z + math.sqrt(raised**2 - sigma**2) * self.noise_factor * noise()
            sigma = raised
        slope = (z - denoise(z, sigma).x0) / sigma
        moved = z + (sigma_next - sigma) * slope
        if sigma_next > 0:
            slope_next = (moved - denoise(moved, sigma_next).x0) / sigma_next
            moved = z + (sigma_next - sigma) * (slope + slope_next) / 2
        return replace(state, z=moved)
