"""DPM-Solver++(2M): second order at one evaluation a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import State
from scoreinv.samplers.steppers.base import Denoise, Stepper


@dataclass(frozen=True)
class DPMSolver2M(Stepper):
    """Lu et al. 2022 (DPM-Solver++), algorithm 2, with lambda = -log sigma in the variable z = x0 + sigma n.

    z' = (sigma'/sigma) z + (1 - sigma'/sigma) D, with D extrapolated from this estimate and the one before. The first
    step, which has none before it, is of first order.
    """

    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        x0 = denoise(state.z, sigma).x0
        if sigma_next == 0:
            return replace(state, z=x0)
        h = math.log(sigma / sigma_next)
        D = x0
        if "dpm_solver" in state.history:
            previous, h_previous = state.history["dpm_solver"]
            D = x0 + h / (2 * h_previous) * (x0 - previous)
        shrink = sigma_next / sigma
        history = state.history | {"dpm_solver": (x0, h)}
        return replace(state, z=shrink * state.z + (1 - shrink) * D, history=history)
