"""The contract of every stepper."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import Estimate, State

Denoise = Callable[[Tensor, float], Estimate]


class Stepper(ABC):
    """A rule for one step down the noise levels, in the variable z = x0 + sigma n of every prior.

    It sees the conditional estimate through `denoise(z, sigma) -> Estimate`, which it may call more than once, and
    fresh noise through `noise()`. At sigma_next = 0 the result is x0.
    """

    @abstractmethod
    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        """The state at sigma_next; history of its own goes into `state.history`."""
