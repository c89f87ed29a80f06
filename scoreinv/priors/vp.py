"""The clock of variance-preserving diffusions: which noise level a network means by time t.

A VP network sees x_t = a_t x0 + sqrt(1 - a_t^2) n. In the variable z = x_t / a_t = x0 + sigma n of every prior here the
level is sigma = sqrt(1 / a_t^2 - 1), and time and level determine each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def linear_betas(start: float = 1e-4, end: float = 0.02, steps: int = 1000) -> Tensor:
    """Ho, Jain and Abbeel 2020: variances rising evenly; float64, (steps,)."""
    return torch.linspace(start, end, steps, dtype=torch.float64)


def scaled_linear_betas(start: float = 8.5e-4, end: float = 0.012, steps: int = 1000) -> Tensor:
    """Rombach et al. 2022: standard deviations rising evenly; float64, (steps,)."""
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2


def cosine_betas(steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Tensor:
    """Nichol and Dhariwal 2021, eq. 17: a_t^2 falls like a squared cosine; float64, (steps,)."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    a2 = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - a2[1:] / a2[:-1]).clamp(max=largest)


@dataclass(frozen=True)
class VPLevels:
    """Noise level by time and time by noise level: exact where tabulated, log-linear between.

    Attributes:
        times: (n,) float64, rising.
        log_sigmas: (n,) float64, rising with the times.
        discrete: whether the network was trained on the tabulated times alone.
    """

    times: Tensor
    log_sigmas: Tensor
    discrete: bool

    @property
    def sigma_min(self) -> float:
        """Lowest level, network units."""
        return float(self.log_sigmas[0].exp())

    @property
    def sigma_max(self) -> float:
        """Highest level, network units."""
        return float(self.log_sigmas[-1].exp())

    def sigma(self, time: Tensor) -> Tensor:
        """Levels at times of any shape, float64."""
        return torch.as_tensor(np.exp(np.interp(time.numpy(), self.times.numpy(), self.log_sigmas.numpy())))

    def time(self, sigma: float) -> float:
        """The time of a level; the nearest end for one beyond the range."""
        return float(np.interp(math.log(sigma), self.log_sigmas.numpy(), self.times.numpy()))


def discrete_levels(betas: Tensor) -> VPLevels:
    """Times 0, 1, ... of a chain with these variances, (T,): a_t^2 is the product of 1 - beta up to t.

    Raises:
        ValueError: unless every beta lies between 0 and 1.
    """
    betas = betas.to(torch.float64)
    if betas.ndim != 1 or len(betas) < 2 or not bool(((betas > 0) & (betas < 1)).all()):
        raise ValueError(f"discrete_levels: expected a row of betas between 0 and 1, got shape {tuple(betas.shape)}")
    # 1 / a^2 - 1 as expm1 of a sum: no cancellation where betas are small.
    log_sigmas = torch.expm1(-torch.log1p(-betas).cumsum(0)).log() / 2
    return VPLevels(torch.arange(len(betas), dtype=torch.float64), log_sigmas, discrete=True)


def continuous_levels(beta_min: float = 0.1, beta_max: float = 20.0, smallest: float = 1e-3) -> VPLevels:
    """Times `smallest` to 1 of Song et al. 2021 (score-based SDEs), eq. 33: beta rises from beta_min to beta_max.

    Raises:
        ValueError: unless 0 < beta_min < beta_max.
    """
    if not 0 < beta_min < beta_max:
        raise ValueError(f"continuous_levels: betas go from {beta_min} to {beta_max}, expected 0 < first < last")
    times = torch.linspace(smallest, 1, 4001, dtype=torch.float64)
    log_sigmas = torch.expm1(beta_min * times + (beta_max - beta_min) * times**2 / 2).log() / 2
    return VPLevels(times, log_sigmas, discrete=False)
