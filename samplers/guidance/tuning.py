"""Strength without ground truth: what the residual says of the noise, or of the prior's error.

The data step is linear in the measurements, x = x0 + M p with M = (I / r^2 + H)^-1, so that the degrees of freedom it
spends on the data are tr(H M), estimated with one random image n as <n, H M n> (Hutchinson 1989).
"""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.operators import Gaussian
from scoreinv.operators.solvers import dot
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise

RULES = ("discrepancy", "sure")
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of r, that SURE chooses from
ROUNDS = 3  # of the fixed point of the discrepancy


def discrepancy(
    data: Quadratic, damping: float, iterations: int, tolerance: float, noise: Noise, guess: Tensor | None
) -> Tensor:
    """How much larger the variance of the noise is than the likelihood says, (*batch, 1, ...).

    The likelihood's sigma counts up to a factor c: after the data step the whitened residual should have the square
    c^2 (m - dof), m the number of data. Its fixed point is what restricted maximum likelihood gives for one unknown
    variance (Hall and Titterington 1987, who compare the rules).

    Raises:
        ValueError: if the noise is not Gaussian.
    """
    _check_gaussian(data, "discrepancy")
    n = noise()
    # A complex datum is two: sigma and the noise n are per real component.
    parts = 2 if n.is_complex() else 1
    used = parts * _shaped((data.weight > 0).flatten(-data.measured).sum(-1), data.ndim)
    variance = torch.ones_like(dot(n, n, data.ndim)) if guess is None else guess
    for _ in range(ROUNDS):
        scaled = data.scaled(1 / variance)
        delta = scaled.solve(scaled.pull, damping, iterations, tolerance).x
        freedom = dot(n, scaled.curvature(scaled.solve(n, damping, iterations, tolerance).x), data.ndim)
        # 2 misfit is the squared residual at x0; the quadratic carries it to x0 + delta.
        residual = _shaped(2 * data.misfit, data.ndim) - 2 * dot(data.pull, delta, data.ndim) + data.along(delta)
        variance = residual.clamp(min=0) / (used - freedom).clamp(min=1.0)
        variance = variance.clamp(min=1e-8)
    return variance


def sure(data: Quadratic, damping: float, iterations: int, tolerance: float, noise: Noise) -> Tensor:
    """The damping, near the given one, of least expected error in the data: Stein's unbiased estimate of it.

    ||A x - y||^2 - m + 2 dof in units of the noise (Stein 1981; Ozturkler et al. 2023, SMRD, tune theirs by it).

    Raises:
        ValueError: if the noise is not Gaussian.
    """
    _check_gaussian(data, "sure")
    n = noise()
    risks, candidates = [], [damping / factor**2 for factor in FACTORS]
    for candidate in candidates:
        delta = data.solve(data.pull, candidate, iterations, tolerance).x
        freedom = dot(n, data.curvature(data.solve(n, candidate, iterations, tolerance).x), data.ndim)
        risks.append(-2 * dot(data.pull, delta, data.ndim) + data.along(delta) + 2 * freedom)
    best = torch.stack(risks).argmin(0)
    return torch.tensor(candidates, dtype=n.real.dtype, device=n.device)[best]


def _check_gaussian(data: Quadratic, rule: str) -> None:
    if not isinstance(data.problem.likelihood, Gaussian):
        raise ValueError(
            f"tune={rule!r}: needs Gaussian noise, got {data.problem.likelihood}; counts know their own noise, "
            "use tune=None"
        )


def _shaped(values: Tensor, ndim: int) -> Tensor:
    """(*batch) -> (*batch, 1, ...)."""
    return values.reshape(*values.shape, *[1] * ndim)
