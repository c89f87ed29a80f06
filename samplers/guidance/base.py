"""How measurements pull the estimate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from scoreinv.samplers.coupling import Coupling
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import Estimate, Problem


class Guidance(ABC):
    """E[x0 | z, y] from a prior that knows E[x0 | z]. Stateless: what must be remembered goes into `history`.

    Attributes:
        couples: the kinds of coupling across slices that it has a place for.
    """

    @property
    def couples(self) -> tuple[type[Coupling], ...]:
        return (Coupling,)

    @abstractmethod
    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        """The conditional estimate, `x0 = E[x0 | z] + sigma^2 grad_z log p(y | z)` as each method approximates it.

        Args:
            z: (samples, *image), network units; `z = x0 + sigma n`.
            sigma: noise level, network units.
            problem: operator, measurements, likelihood, prior, coupling.
            history: of this run, changed in place.
            noise: fresh noise, for methods that sample.
        """

    def correct(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Tensor:
        """The state after a step, for methods that act on the noisy image itself; sigma is its noise level."""
        return z


def coupled(x: Tensor, sigma: float, problem: Problem) -> Tensor:
    """The prox of the coupling, if there is one, for methods without a linear solve to put it in."""
    if problem.coupling is None:
        return x
    threshold = problem.coupling.strength * problem.prior.error(sigma)
    return problem.coupling.prox(x, threshold, len(problem.operator.in_shape))
