"""Denoising diffusion implicit models."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import State
from scoreinv.samplers.steppers.base import Denoise, Stepper


@dataclass(frozen=True)
class DDIM(Stepper):
    """Song, Meng and Ermon 2021, eq. 12 and 16, in the variable z = x0 + sigma n.

    z' = x0 + sqrt(sigma'^2 - s^2) eps + s n, with fresh noise n of standard deviation s. The split "ddim" has
    s = eta sigma' sqrt(1 - sigma'^2 / sigma^2): eta = 0 follows the probability flow, eta = 1 has the posterior
    variance of DDPM, and both sample exactly as steps grow small. The split "dds" (Chung, Lee and Ye 2024) has
    s = eta sigma': with eta = 1 nothing of eps survives, so that what guidance left unfinished at one level is not
    carried to the next; its samples spread less than the posterior.

    Args:
        eta: share of fresh noise, 0 to 1.
        split: "ddim" or "dds".
    """

    eta: float = 0.0
    split: str = "ddim"

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"DDIM: eta is {self.eta}, expected 0 (deterministic) to 1 (as much noise as DDPM)")
        if self.split not in ("ddim", "dds"):
            raise ValueError(f"DDIM: split is {self.split!r}, expected 'ddim' or 'dds'")

    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        estimate = denoise(state.z, sigma)
        if sigma_next == 0:
            return replace(state, z=estimate.x0)
        fresh = self.eta * sigma_next
        if self.split == "ddim":
            fresh *= (1 - (sigma_next / sigma) ** 2) ** 0.5
        z = torch.add(estimate.x0, estimate.eps, alpha=(sigma_next**2 - fresh**2) ** 0.5)
        return replace(state, z=z.add_(noise(), alpha=fresh) if fresh else z)
