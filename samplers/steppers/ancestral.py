"""Ancestral sampling, the sampler of DDPM."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import State
from scoreinv.samplers.steppers.base import Denoise, Stepper


@dataclass(frozen=True)
class Ancestral(Stepper):
    """The posterior of the next state given this one and x0 (Ho, Jain and Abbeel 2020, eq. 6 and 7).

    With z = x0 + sigma n, q(z' | z, x0) has mean x0 + (sigma'/sigma)^2 (z - x0) and variance
    sigma'^2 (1 - sigma'^2 / sigma^2). `DDIM(eta=1)` is the same wherever eps is that of
    x0; this one never looks at eps.
    """

    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        x0 = denoise(state.z, sigma).x0
        if sigma_next == 0:
            return replace(state, z=x0)
        shrink = (sigma_next / sigma) ** 2
        return replace(state, z=x0 + shrink * (state.z - x0) + sigma_next * (1 - shrink) ** 0.5 * noise())
