"""THE loop: the only place that walks down the noise levels."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scoreinv.samplers.clock import TimedOperator, TimedPrior
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.noise import Noise, NoiseSource
from scoreinv.samplers.state import Estimate, Problem, State
from scoreinv.samplers.steppers import Stepper


class Diverged(ArithmeticError):
    """NaN or Inf appeared; `state` is the last finite one."""

    def __init__(self, message: str, state: State) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class Step:
    """What happened in one step of the loop.

    Attributes:
        index: of the step, from 0.
        sigma: noise level at its start, network units.
        misfit: negative log-likelihood of the prior's estimate, per sample.
        inner_iterations: of the guidance's solver; 0 where it has none.
        network, operator, rest: seconds.
    """

    index: int
    sigma: float
    misfit: tuple[float, ...]
    inner_iterations: int
    network: float
    operator: float
    rest: float


Callback = Callable[[Step, State], None]


@torch.no_grad()
def walk(
    problem: Problem,
    guidance: Guidance,
    stepper: Stepper,
    sigmas: Tensor,
    noise: NoiseSource,
    samples: Sequence[int],
    state: State,
    callback: Callback | None = None,
) -> State:
    """Take a state down the rest of its noise levels.

    Args:
        problem: what is asked.
        guidance: how the measurements pull.
        stepper: how a step is made.
        sigmas: (steps + 1,), descending to 0, network units.
        noise: where fresh noise comes from.
        samples: the numbers of the samples in `state.z`; a sample's noise depends on its number alone.
        state: from `start`, or of an earlier walk to resume.
        callback: called after every step with what happened and the new state.

    Returns:
        The state whose z are the samples in network units.

    Raises:
        ValueError: if the levels are beyond the prior's range, or the parts do not go together.
        Diverged: if a step gives NaN or Inf.
    """
    operator, prior = TimedOperator(problem.operator), TimedPrior(problem.prior)
    timed = replace(problem, operator=operator, prior=prior)
    levels = [float(sigma) for sigma in sigmas]
    _check_range(levels, problem)
    stepper.check(guidance)
    if problem.coupling is not None and not isinstance(problem.coupling, guidance.couples):
        kinds = " or ".join(["None", *(kind.__name__ for kind in guidance.couples)])
        raise ValueError(f"{guidance}: has no place for {problem.coupling}; expected a coupling that is {kinds}")
    for index in range(state.step, len(levels) - 1):
        begun, before = time.perf_counter(), (prior.watch.seconds, operator.watch.seconds)
        sigma = levels[index]
        moved, last = _move(state, timed, guidance, stepper, sigma, levels[index + 1], noise, samples)
        if not _finite(moved.z):
            raise Diverged(
                f"step {index} (sigma {sigma:.4g}): the state is not finite after {type(guidance).__name__} with "
                f"{problem.prior}; check the units of the measurements and the noise level of the likelihood",
                state,
            )
        state = moved
        if callback is not None:
            network, scanner = prior.watch.seconds - before[0], operator.watch.seconds - before[1]
            total = time.perf_counter() - begun
            misfit = () if last.misfit is None else tuple(last.misfit.tolist())
            inner = last.inner_iterations
            callback(Step(index, sigma, misfit, inner, network, scanner, total - network - scanner), state)
    return state


def _move(
    state: State,
    problem: Problem,
    guidance: Guidance,
    stepper: Stepper,
    sigma: float,
    sigma_next: float,
    noise: NoiseSource,
    samples: Sequence[int],
) -> tuple[State, Estimate]:
    """One step: the state at sigma_next, and the last estimate that was made on the way."""
    draws = itertools.count()

    def fresh(shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None) -> Tensor:
        return noise.draw(samples, state.step + 1, next(draws), shape, dtype)

    guided = _Guided(state, replace(problem, prior=problem.prior.at(state.step)), guidance, fresh)
    moved = stepper.step(replace(state, history=guided.history), guided, sigma, sigma_next, fresh)
    z = guidance.correct(moved.z, sigma_next, problem, moved.history)
    return State(z, state.step + 1, moved.history), guided.last


class _Guided:
    """The estimate of one step's guidance, and the last one it made."""

    last: Estimate

    def __init__(self, state: State, problem: Problem, guidance: Guidance, noise: Noise) -> None:
        self.state, self.problem, self.guidance, self.noise = state, problem, guidance, noise
        # A copy: the state before the step stays what it was, for whoever keeps it.
        self.history = dict(state.history)

    @property
    def sigma_max(self) -> float:
        return self.problem.prior.sigma_max

    def __call__(self, z: Tensor, sigma: float) -> Estimate:
        self.last = self.guidance(z, sigma, self.problem, self.history, self.noise)
        if self.last.prior is not None and not _finite(self.last.prior):
            raise Diverged(
                f"step {self.state.step} (sigma {sigma:.4g}): {self.problem.prior} answers NaN or Inf to a finite "
                f"image of magnitude {float(z.abs().max()):.3g}; check its weights, precision and intensity map",
                self.state,
            )
        return self.last

    def correct(self, z: Tensor, sigma: float) -> Tensor:
        return self.guidance.correct(z, sigma, self.problem, self.history)


def _check_range(levels: list[float], problem: Problem) -> None:
    first, last, prior = levels[0], levels[-2], problem.prior
    if first > prior.sigma_max * (1 + 1e-6) or last < prior.sigma_min * (1 - 1e-6):
        raise ValueError(
            f"schedule: goes from sigma {first:.4g} to {last:.4g} before 0, but {prior} was trained on "
            f"{prior.sigma_min:.4g} to {prior.sigma_max:.4g}; keep it within (schedules.edm takes both ends)"
        )


def _finite(x: Tensor) -> bool:
    return bool(torch.isfinite(torch.view_as_real(x) if x.is_complex() else x).all())


def start(noise: NoiseSource, sigma: float, samples: Sequence[int], image: Tensor | None = None) -> State:
    """The state before the first step: an image in network units (zero if None) with noise of level sigma."""
    z = sigma * noise.draw(samples, 0)
    return State(z if image is None else image + z)
