"""Euler-Maruyama on the reverse-time stochastic differential equation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import State
from scoreinv.samplers.steppers.base import Denoise, Stepper


@dataclass(frozen=True)
class ReverseSDE(Stepper):
    """Song et al. 2021 (score-based SDEs), eq. 6, in steps of Euler and Maruyama.

    With score s = (x0 - z) / sigma^2, "ve" makes z' = z + (sigma^2 - sigma'^2) s + sqrt(sigma^2 - sigma'^2) n. "vp"
    makes the step in the variable x = z / sqrt(1 + sigma^2), where the integral of beta over the step is
    b = log((1 + sigma^2) / (1 + sigma'^2)): x' = x + b x / 2 + b grad_x log p + sqrt(b) n.

    Args:
        kind: "ve" or "vp".
    """

    kind: str = "ve"

    def __post_init__(self) -> None:
        if self.kind not in ("ve", "vp"):
            raise ValueError(f"ReverseSDE: kind is {self.kind!r}, expected 've' or 'vp'")

    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        x0 = denoise(state.z, sigma).x0
        if sigma_next == 0:
            return replace(state, z=x0)
        score = (x0 - state.z) / sigma**2
        if self.kind == "ve":
            spread = sigma**2 - sigma_next**2
            return replace(state, z=state.z + spread * score + math.sqrt(spread) * noise())
        scale, scale_next = math.sqrt(1 + sigma**2), math.sqrt(1 + sigma_next**2)
        b = 2 * math.log(scale / scale_next)
        # The gradient in x is sqrt(1 + sigma^2) times that in z.
        x = state.z / scale * (1 + b / 2) + b * scale * score + math.sqrt(b) * noise()
        return replace(state, z=scale_next * x)
