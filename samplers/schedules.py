"""Noise levels to walk down: pure functions returning descending sigmas, float64, of length steps + 1, ending in 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoreinv.priors.vp import VPLevels, discrete_levels, linear_betas


def edm(steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> Tensor:
    """Levels even in sigma^(1/rho), dense where sigma is small (Karras et al. 2022, eq. 5).

    Args:
        steps: number of network evaluations of a first-order stepper.
        sigma_max, sigma_min: first level and last level before 0, network units.
        rho: 1 is linear; towards infinity the grid becomes geometric.

    Raises:
        ValueError: unless steps >= 1 and 0 < sigma_min <= sigma_max.
    """
    _check(steps, sigma_max, sigma_min)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    sigmas = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return _end_in_zero(sigmas)


def geometric(steps: int, sigma_max: float, sigma_min: float) -> Tensor:
    """Levels even in log sigma, as in variance-exploding diffusions (Song et al. 2021). Arguments as in `edm`."""
    _check(steps, sigma_max, sigma_min)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    return _end_in_zero(sigma_max * (sigma_min / sigma_max) ** ramp)


def vp(steps: int, levels: VPLevels | None = None, sigma_max: float = math.inf, sigma_min: float = 0.0) -> Tensor:
    """Levels even in the time of a variance-preserving diffusion (Ho et al. 2020; Nichol and Dhariwal 2021).

    Args:
        steps: number of levels before 0.
        levels: `discrete_levels(linear_betas())` unless given; the times of a discrete one are rounded to those that
            its network was trained on.
        sigma_max, sigma_min: part of its range, network units.

    Raises:
        ValueError: if there are not so many different levels in the range.
    """
    levels = levels or discrete_levels(linear_betas())
    first, last = levels.time(min(sigma_max, levels.sigma_max)), levels.time(max(sigma_min, levels.sigma_min))
    if levels.discrete:
        first, last = math.floor(first + 1e-6), math.ceil(last - 1e-6)
        if steps > first - last + 1:
            raise ValueError(
                f"schedule: {steps} steps, expected at most {first - last + 1}, the number of the network's levels "
                f"from sigma {min(sigma_max, levels.sigma_max):.3g} down; schedules.edm makes any number"
            )
    times = torch.linspace(first, last, steps, dtype=torch.float64)
    return check(_end_in_zero(levels.sigma(times.round() if levels.discrete else times)))


def start_at(sigmas: Tensor, start_sigma: float) -> Tensor:
    """The part of a schedule below start_sigma, and start_sigma before it: for a hot start from an image.

    Chung, Sim and Ye 2022 (come closer, diffuse faster): noise a cheap reconstruction to start_sigma,
    `solve(init=...)`, and save the steps above.

    Raises:
        ValueError: unless start_sigma lies within the schedule.
    """
    if not 0 < start_sigma <= float(sigmas[0]):
        raise ValueError(
            f"schedule: start_sigma is {start_sigma}, expected more than 0 and at most the first level {sigmas[0]:g}"
        )
    return torch.cat([sigmas.new_tensor([start_sigma]), sigmas[sigmas < start_sigma]])


def check(sigmas: Tensor) -> Tensor:
    """A schedule of the user's own: raises ValueError unless it falls strictly and ends in 0."""
    if sigmas.ndim != 1 or len(sigmas) < 2 or sigmas[-1] != 0 or not bool((sigmas.diff() < 0).all()):
        shown = ", ".join(f"{sigma:.4g}" for sigma in sigmas.flatten()[:8].tolist())
        raise ValueError(
            f"schedule: sigmas must fall strictly and end in 0, got {shown}{', ...' if sigmas.numel() > 8 else ''}; "
            "schedules.edm makes such a grid"
        )
    return sigmas.to(torch.float64)


def _check(steps: int, sigma_max: float, sigma_min: float) -> None:
    if steps < 1:
        raise ValueError(f"schedule: steps is {steps}, expected at least 1")
    if not 0 < sigma_min <= sigma_max or (steps > 1 and sigma_min == sigma_max):
        raise ValueError(
            f"schedule: sigma_min is {sigma_min} and sigma_max {sigma_max}; expected 0 < sigma_min < sigma_max"
        )


def _end_in_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])
