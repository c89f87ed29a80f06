"""Where the time goes: an operator and a prior that count their own seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from scoreinv.operators import LinearOperator
from scoreinv.operators.solvers import Map
from scoreinv.priors.base import Prior


class Stopwatch:
    """Seconds spent inside `running` blocks; waits for the GPU where one works."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        finish_queued_work()
        start = time.perf_counter()
        try:
            yield
        finally:
            finish_queued_work()
            self.seconds += time.perf_counter() - start


class TimedOperator(LinearOperator):
    """An operator under a stopwatch."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.in_shape, operator.out_shape, operator.in_dtype, operator.out_dtype, operator.device)
        self.operator, self.watch = operator, Stopwatch()
        self.view_axis = operator.view_axis

    # In place of the public maps: the operator within checks and differentiates, once is enough.
    def forward(self, x: Tensor) -> Tensor:
        with self.watch.running():
            return self.operator.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        with self.watch.running():
            return self.operator.adjoint(y)

    def normal(self, x: Tensor) -> Tensor:
        with self.watch.running():
            return self.operator.normal(x)

    _apply, _adjoint = forward, adjoint

    def sensitivity(self, device: torch.device | str | None = None) -> Tensor:
        with self.watch.running():
            return self.operator.sensitivity(device)

    def norm(self) -> float:
        with self.watch.running():
            return self.operator.norm()

    def inverse_near(self, strength: Tensor, damping: Tensor) -> Map | None:
        with self.watch.running():
            return self.operator.inverse_near(strength, damping)

    def subset(self, i: int, n: int) -> LinearOperator:
        part = TimedOperator(self.operator.subset(i, n))
        part.watch = self.watch
        return part


class TimedPrior(Prior):
    """A prior under a stopwatch; an answer that is no image is named as such, since users write priors of their own."""

    def __init__(self, prior: Prior) -> None:
        self.prior, self.watch = prior, Stopwatch()
        self.ndim, self.channels, self.data_std = prior.ndim, prior.channels, prior.data_std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max
        self.intensity, self.voxel_size, self.name = prior.intensity, prior.voxel_size, prior.name

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        with self.watch.running():
            x0 = self.prior.denoise(z, sigma)
        self._check(x0, z)
        return x0

    def linearise(self, z: Tensor, sigma: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        with self.watch.running():
            x0, vjp = self.prior.linearise(z, sigma)
        self._check(x0, z)

        def timed(v: Tensor) -> Tensor:
            with self.watch.running():
                return vjp(v)

        return x0, timed

    def _check(self, x0: Tensor, z: Tensor) -> None:
        if x0.shape != z.shape or x0.dtype != z.dtype:
            raise ValueError(
                f"{self}: answers {tuple(x0.shape)} {x0.dtype} to an image {tuple(z.shape)} {z.dtype}, expected the "
                "same; correct its `denoise`"
            )

    def __repr__(self) -> str:
        return repr(self.prior)

    def at(self, step: int) -> Prior:
        now = TimedPrior(self.prior.at(step))
        now.watch = self.watch
        return now

    def slices(self, z: Tensor) -> tuple[Prior, Tensor]:
        return self.prior.slices(z)

    def adapted(self, weights: Mapping[str, Tensor]) -> Prior:
        adapted = TimedPrior(self.prior.adapted(weights))
        adapted.watch = self.watch
        return adapted

    def error(self, sigma: float) -> float:
        return self.prior.error(sigma)


def counted(prior: Prior) -> AbstractContextManager[None]:
    """A block of work on a prior's network, other than asking it, that counts as its time where it is timed."""
    return prior.watch.running() if isinstance(prior, TimedPrior) else nullcontext()


def finish_queued_work() -> None:
    """Wait for the GPU, if there is one in use, before a clock is read."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
