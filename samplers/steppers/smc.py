"""Twisted sequential Monte Carlo: exact as particles grow, for problems of a few dimensions.

A check on the other methods where no posterior is known in closed form. Weights degenerate exponentially with
dimension, so it refuses images of more than 16 numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scoreinv.samplers.guidance import DDS, DPS, DiffPIR, Guidance, PiGDM
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import within
from scoreinv.samplers.state import Estimate, State
from scoreinv.samplers.steppers.base import Denoise, Stepper

LARGEST = 16


@dataclass(frozen=True)
class TwistedSMC(Stepper):
    """Wu et al. 2023 (twisted diffusion sampler), algorithm 1, with any guidance as its proposal.

    The target at each level is p(z) p(y | x0(z)), x0 the prior's own estimate. Particles move by the ancestral step
    around the guided estimate; the weight makes up for the guidance and for the change of target. The weighted
    cloud tends to the posterior as particles and steps grow; a good guidance needs fewer of them. It starts from noise
    alone.

    One cloud is one sample: at the end one particle is drawn by its weight. The cloud itself stays in
    `state.history["cloud"]`, (samples, particles, *image), and `state.history["log_weights"]`, (samples, particles).

    Args:
        particles: in a cloud.
        threshold: resample where the effective number of particles falls below this share.
    """

    particles: int = 256
    threshold: float = 0.5

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "particles")
        within(self, 0, 1, "threshold")

    def check(self, guidance: Guidance) -> None:
        if type(guidance) not in (DDS, DPS, DiffPIR, PiGDM):
            raise ValueError(
                f"TwistedSMC: {type(guidance).__name__} acts on the state or draws noise of its own, which weights "
                "cannot make up for; expected DPS, PiGDM, DDS or DiffPIR"
            )
        if isinstance(guidance, DDS) and (guidance.tune is not None or guidance.adapt is not None):
            raise ValueError("TwistedSMC: DDS(tune=..., adapt=...) draws noise of its own; expected neither")

    def step(self, state: State, denoise: Denoise, sigma: float, sigma_next: float, noise: Noise) -> State:
        z, log_weights = state.z, state.history.get("log_weights")
        if log_weights is None:
            image = tuple(z.shape[1:])
            if math.prod(image) > LARGEST:
                raise ValueError(
                    f"TwistedSMC: the image has {math.prod(image)} numbers, expected at most {LARGEST}; its weights "
                    "degenerate in more dimensions, use PiGDM(covariance='jacobian')"
                )
            z = sigma * noise((self.particles, *image))
            log_weights = z.real.new_zeros(z.shape[:2])
        estimate = denoise(z, sigma)
        prior, misfit = _unguided(estimate)
        log_weights = log_weights - misfit
        if sigma_next == 0:
            history = state.history | {"cloud": prior, "log_weights": log_weights}
            return replace(state, z=_pick(prior, _ancestors(log_weights, noise, 1)).squeeze(1), history=history)
        guided, spread = estimate.x0, sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)
        poor = _effective(log_weights) < self.threshold * self.particles
        # Drawn whether needed or not: the next draw of a cloud must not depend on the state of others.
        kept = _ancestors(log_weights, noise, self.particles)
        kept = torch.where(poor[:, None], kept, torch.arange(self.particles, device=z.device))
        z, prior, guided = (_pick(x, kept) for x in (z, prior, guided))
        misfit = misfit.gather(1, kept)
        log_weights = torch.where(poor[:, None], 0.0, log_weights)
        shrink = (sigma_next / sigma) ** 2
        moved = guided + shrink * (z - guided) + spread * noise((self.particles, *z.shape[2:]))
        forwards = _log_normal(moved - prior - shrink * (z - prior), spread)
        proposed = _log_normal(moved - guided - shrink * (z - guided), spread)
        log_weights = log_weights + misfit + forwards - proposed
        return replace(state, z=moved, history=state.history | {"log_weights": log_weights})


def _unguided(estimate: Estimate) -> tuple[Tensor, Tensor]:
    if estimate.prior is None or estimate.misfit is None:
        raise ValueError("TwistedSMC: the guidance gives neither the prior's estimate nor its misfit; use DPS or PiGDM")
    return estimate.prior, estimate.misfit


def _effective(log_weights: Tensor) -> Tensor:
    """Effective number of particles of every cloud."""
    return 1 / log_weights.softmax(1).square().sum(1)


def _ancestors(log_weights: Tensor, noise: Noise, count: int) -> Tensor:
    """Systematic resampling: (clouds, count) indices drawn by weight."""
    uniform = torch.special.ndtr(noise((1,), torch.float32))
    positions = (torch.arange(count, device=uniform.device) + uniform) / count
    cumulative = log_weights.softmax(1).cumsum(1)
    return torch.searchsorted(cumulative, positions.to(cumulative)).clamp(max=log_weights.shape[1] - 1)


def _pick(x: Tensor, indices: Tensor) -> Tensor:
    """x[cloud, indices[cloud, k]] for x (clouds, particles, *image)."""
    return x[torch.arange(len(x), device=x.device)[:, None], indices]


def _log_normal(deviation: Tensor, spread: float) -> Tensor:
    """log N(deviation; 0, spread^2 I), (clouds, particles), up to a constant."""
    return -0.5 * (deviation.abs() / spread).square().flatten(2).sum(2)
