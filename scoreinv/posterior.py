"""A posterior ready to be sampled: everything `solve` was told, checked and put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.samplers import NoiseSource, Problem, State, Step, Stepper, start, walk
from scoreinv.samplers.guidance import Guidance
from scoreinv.samplers.loop import Callback
from scoreinv.samples import Sample, SampleStore


@dataclass(frozen=True)
class Posterior:
    """Samples of the image given its measurements, drawn by their numbers.

    Attributes:
        problem: what is asked; its prior is of the operator's image.
        guidance, stepper: how a step is made.
        sigmas: (steps + 1,), descending to 0, network units.
        noise: what makes sample k sample k.
        first: image to start from, network units; None starts from noise alone.
        together: so many samples go through the network at once.
        config: everything needed to repeat it but the number of samples, as plain values.
    """

    problem: Problem
    guidance: Guidance
    stepper: Stepper
    sigmas: Tensor
    noise: NoiseSource
    first: Tensor | None
    together: int
    config: dict[str, Any]

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    def groups(self, samples: int) -> Iterator[list[int]]:
        """Numbers of the samples that are drawn together."""
        for k in range(0, samples, self.together):
            yield list(range(k, min(k + self.together, samples)))

    def draw(self, numbers: Sequence[int], callback: Callback | None = None) -> Tensor:
        """(len(numbers), *image): the samples of these numbers, in the operator's units.

        Raises:
            torch.OutOfMemoryError: if the memory of a GPU does not suffice, with what would need less.
        """
        try:
            state = start(self.noise, float(self.sigmas[0]), numbers, self.first)
            parts = self.problem, self.guidance, self.stepper, self.sigmas, self.noise, numbers, state
            return self.problem.prior.intensity.to_image(walk(*parts, callback).z)
        except torch.OutOfMemoryError as error:
            raise torch.OutOfMemoryError(
                f"the GPU is too small for images of shape {self.problem.operator.in_shape}; lower max_slices, the "
                "slices in the network at once (8 by default), or leave the data on the CPU, if they are not, and "
                f"move the prior alone, with backend='streamed' of CT and PET: {error}"
            ) from error

    def samples(
        self,
        count: int,
        store: SampleStore | None = None,
        callback: Callable[[Step, State, int], None] | None = None,
        first: int = 0,
    ) -> Iterator[tuple[int, Sample]]:
        """Sample `first`, `first` + 1, ..., one after the other, so that only those of a group are in memory.

        Samples that are in the store come from there; a group of which one is missing is drawn as a whole, so that
        every sample is what it would have been. `callback` is told of every step, and how many samples made it.
        """
        for members in self.groups(count):
            if members[-1] < first:
                continue
            kept = [None if store is None else store.read(number, self.noise.device) for number in members]
            if None in kept:
                kept = self._drawn(members, kept, store, callback)
            for number, sample in zip(members, kept, strict=True):
                if sample is not None and number >= first:
                    yield number, sample

    def _drawn(
        self,
        members: list[int],
        kept: list[Sample | None],
        store: SampleStore | None,
        callback: Callable[[Step, State, int], None] | None,
    ) -> list[Sample | None]:
        steps: list[Step] = []

        def report(step: Step, state: State) -> None:
            steps.append(step)
            if callback is not None:
                callback(step, state, len(members))

        images = self.draw(members, report)
        drawn: list[Sample | None] = []
        for k, (number, image, old) in enumerate(zip(members, images, kept, strict=True)):
            sample = old or Sample(image, tuple(steps) if k == 0 else ())
            if store is not None and old is None:
                store.write(number, sample.image, sample.steps)
            drawn.append(sample)
        return drawn


def together(shape: tuple[int, ...], ndim: int, chunk: int) -> int:
    """How many samples fill a chunk of so many slices: 2D images do, volumes go one by one."""
    slices = math.prod(shape[:-ndim]) if ndim == 2 else chunk
    return max(1, chunk // slices)


def stacked(samples: Iterator[tuple[int, Sample]]) -> tuple[Tensor, list[Step]]:
    """All images, (samples, *image), and all that happened."""
    drawn = [sample for _, sample in samples]
    return torch.stack([sample.image for sample in drawn]), [step for sample in drawn for step in sample.steps]
