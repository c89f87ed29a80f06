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

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.samplers.guidance.adapt import LoRA
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.quadratic import Quadratic, featureless_norm
from scoreinv.samplers.guidance.tuning import RULES, discrepancy, sure
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class DDS(Guidance):
    """Conjugate-gradient data consistency.

    Args:
        iterations: of conjugate gradients per noise level, at most.
        tolerance: relative residual at which they stop.
        gamma: the published constant in place of what r says, 1 / r^2 = ||H|| / gamma; infinite for data without
            noise. The coupling's threshold is then counted in data_std, not in r; at infinite gamma it vanishes.
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

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        A, prior, coupling = problem.operator, problem.prior, problem.coupling
        r = prior.error(sigma)
        damping = 1 / r**2 if self.gamma is None else featureless_norm(problem) / self.gamma
        if self.adapt is None:
            x0 = prior.denoise(z, sigma)
        else:
            x0 = self.adapt.denoise(z, sigma, problem, history, noise, damping, self.iterations)
        data = Quadratic.at(x0, problem)
        if self.tune == "discrepancy":
            guess = history.get("noise variance")
            variance = discrepancy(data, damping, self.iterations, self.tolerance, noise, guess)
            history["noise variance"] = variance
            data = data.scaled(1 / variance)
        tuned = sure(data, damping, self.iterations, self.tolerance, noise) if self.tune == "sure" else damping
        if coupling is None:
            solution = data.solve(data.pull, tuned, self.iterations, self.tolerance)
        else:
            D, rho = coupling.map(A.in_shape, A.in_dtype), coupling.rho * tuned
            Dx0 = D.forward(x0)
            d, u = history.get("coupling", (Dx0, torch.zeros_like(Dx0)))
            b = data.pull + rho * D.adjoint(d - u - Dx0)
            solution = data.solve(b, tuned, self.iterations, self.tolerance, lambda delta: rho * D.normal(delta))
        x = x0 + solution.x
        # One ADMM iteration a level: a second look at it, as Heun takes, finds the splitting as the first left it.
        if coupling is not None and history.get("coupled at") != sigma:
            history["coupled at"] = sigma
            Dx = D.forward(x)
            d = coupling.shrink(Dx + u, coupling.strength * (r if self.gamma is None else prior.data_std))
            history["coupling"] = (d, u + Dx - d)
        eps = (z - (x0 if self.keep_noise else x)) / sigma
        return Estimate(x, eps, x0, data.misfit, solution.iterations)
