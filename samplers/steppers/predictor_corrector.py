"""Predictor-corrector sampling: Langevin steps at a level before going on to the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scoreinv.operators.solvers import dot
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import State
from scoreinv.samplers.steppers.base import Denoise, Stepper
from scoreinv.samplers.steppers.reverse_sde import ReverseSDE


@dataclass(frozen=True)
class PredictorCorrector(Stepper):
    """Song et al. 2021 (score-based SDEs), algorithms 2 and 4: corrector, then the reverse-diffusion predictor.

    The corrector is z + e s + sqrt(2 e) n with e = 2 (snr |n| / |s|)^2, norms taken of every sample on its own. Every
    step asks for the estimate twice (and once more for every further corrector).

    Args:
        snr: signal-to-noise ratio of a corrector step.
        correctors: at each level.
    """

    snr: float = 0.16
    correctors: int = 1

    def __post_init__(self) -> None:
        if not self.snr > 0 or self.correctors < 1:
            raise ValueError(
                f"PredictorCorrector: snr is {self.snr} and correctors {self.correctors}, expected snr > 0 and at "
                "least one corrector (ReverseSDE has none)"
            )

    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        z = state.z
        for _ in range(self.correctors):
            score = (denoise(z, sigma).x0 - z) / sigma**2
            n = noise()
            image = z.ndim - 1
            e = 2 * self.snr**2 * dot(n, n, image) / dot(score, score, image).clamp(min=torch.finfo(torch.float32).tiny)
            z = denoise.correct(z + e * score + (2 * e).sqrt() * n, sigma)
        return ReverseSDE().step(State(z, state.step, state.history), denoise, sigma, sigma_next, noise)
