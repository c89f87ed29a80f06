"""The contract of every stepper."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor

from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import Estimate, State


class Denoise(Protocol):
    """The guided estimate, as a stepper sees it.

    Attributes:
        sigma_max: highest level that may be asked about.
    """

    @property
    def sigma_max(self) -> float: ...

    def __call__(self, z: Tensor, sigma: float) -> Estimate:
        """E[x0 | z, y] of a state at level sigma."""

    def correct(self, z: Tensor, sigma: float) -> Tensor:
        """A state between two parts of a step, as the guidance corrects it; after the step the loop does so itself."""


class Stepper(ABC):
    """A rule for one step down the noise levels, in the variable z = x0 + sigma n of every prior.

    It sees the conditional estimate through `denoise(z, sigma) -> Estimate`, which it may call more than once, and
    fresh noise through `noise()`. At sigma_next = 0 the result is x0.
    """

    def check(self, guidance: Guidance) -> None:
        """Raise ValueError if this guidance does not go with this stepper."""

    @abstractmethod
    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        """The state at sigma_next; history of its own goes into `state.history`."""
