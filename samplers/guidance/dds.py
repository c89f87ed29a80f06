"""Decomposed diffusion sampling: the data enter through a few conjugate-gradient iterations around x0.

Chung, Lee and Ye 2024 (ICLR, eq. 12 to 14) move the denoised estimate towards the data within a Krylov space, without
differentiating the network. Here that step is the posterior mean of a Gaussian around the estimate: with r how far it
may be from the truth, and p, H pull and curvature of the likelihood at x0,

    (I / r^2 + H + rho / r^2 D^H D) delta = p + rho / r^2 D^H (d - u - D x0),    x = x0 + delta.

The strength follows from the noise of the data and of the state, so nothing needs tuning between geometries, and the
step is exact for a Gaussian prior. The coupling's d and u are ADMM's splitting and its scaled dual; one ADMM iteration
is made a noise level, and both are kept for the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.samplers.coupling import Coupling, LinearCoupling
from scoreinv.samplers.guidance.adapt import LoRA
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.quadratic import Quadratic, featureless_norm
from scoreinv.samplers.guidance.splitting import Splitting
from scoreinv.samplers.guidance.tuning import RULES, discrepancy, sure
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import positive, within
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class DDS(Guidance):
    """Conjugate-gradient data consistency.

    Args:
        iterations: of conjugate gradients per noise level, at most.
        tolerance: relative residual at which they stop.
        gamma: the published constant in place of what r says, 1 / r^2 = ||H|| / gamma; infinite for data without
            noise. The coupling's threshold is then counted in data_std, not in r; at infinite gamma there is nothing
            that it could be weighed against, and no coupling has a place.
        keep_noise: leave eps that of the network, as published, not that of the guided estimate.
        tune: "discrepancy" where the likelihood's noise level is a guess: its factor is found from the residual at
            every level, and left in `history["noise variance"]`. "sure" where the noise is Gaussian and known: r is
            chosen anew at every level. None trusts both.
        adapt: the network to this scan, at every level, before the data step.
    """

    iterations: int = 10
    tolerance: float = 1e-4
    gamma: float | None = None
    keep_noise: bool = False
    tune: str | None = None
    adapt: LoRA | None = None

    def __post_init__(self) -> None:
        if self.tune not in (None, *RULES):
            raise ValueError(f"DDS: tune is {self.tune!r}, expected None or one of {RULES}")
        within(self, 1, math.inf, "iterations")
        within(self, 0, 1, "tolerance")
        if self.gamma is not None:
            positive(self, "gamma")
        if self.tune == "sure" and self.gamma == math.inf:
            raise ValueError("DDS: tune='sure' scales 1 / r^2, which is 0 at gamma = inf; expected a finite gamma")

    @property
    def couples(self) -> tuple[type[Coupling], ...]:
        return () if self.gamma == math.inf else (LinearCoupling,)

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        r = problem.prior.error(sigma)
        damping = 1 / r**2 if self.gamma is None else featureless_norm(problem) / self.gamma
        if self.adapt is None:
            x0 = problem.prior.denoise(z, sigma)
        else:
            x0 = self.adapt.denoise(z, sigma, problem, history, noise, damping, self.iterations)
        data, tuned = self._tuned(Quadratic.at(x0, problem), damping, history, noise)
        coupling = problem.coupling
        splitting = _splitting(x0, problem, coupling, tuned, history) if isinstance(coupling, LinearCoupling) else None
        if splitting is None:
            solution = data.solve(data.pull, tuned, self.iterations, self.tolerance)
        else:
            solution = splitting.solve(x0, data, tuned, self.iterations, self.tolerance)
        x = x0 + solution.x
        # One ADMM iteration a level: a second look at it, as Heun takes, finds the splitting as the first left it.
        if splitting is not None and history.get("coupled at") != sigma:
            threshold = splitting.coupling.strength * (r if self.gamma is None else problem.prior.data_std)
            history["coupling"] = splitting.moved(x, threshold)
            history["coupled at"] = sigma
        eps = torch.sub(z, x0 if self.keep_noise else x).div_(sigma)
        return Estimate(x, eps, x0, data.misfit, solution.iterations)

    def _tuned(
        self, data: Quadratic, damping: float, history: dict[str, Any], noise: Noise
    ) -> tuple[Quadratic, float | Tensor]:
        """Data and damping at the strength that `tune` finds."""
        if self.tune == "discrepancy":
            guess = history.get("noise variance")
            variance = discrepancy(data, damping, self.iterations, self.tolerance, noise, guess)
            history["noise variance"] = variance
            return data.scaled(1 / variance), damping
        if self.tune == "sure":
            return data, sure(data, damping, self.iterations, self.tolerance, noise)
        return data, damping


def _splitting(
    x0: Tensor, problem: Problem, coupling: LinearCoupling, damping: float | Tensor, history: dict[str, Any]
) -> Splitting:
    """As the level before left it, or without any pull in the first."""
    D = coupling.map(problem.operator.in_shape, problem.operator.in_dtype)
    if "coupling" not in history:
        Dx0 = D.forward(x0)
        return Splitting(coupling, D, coupling.rho * damping, Dx0, torch.zeros_like(Dx0))
    return Splitting(coupling, D, coupling.rho * damping, *history["coupling"])
