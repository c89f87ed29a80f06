"""Noise that depends on nothing but what it is for.

Every slice of every draw has its own generator, seeded by (seed, sample, step, draw, slice). A sample is therefore the
same whatever the batch it is computed in, the chunks, the number of workers or the point of resumption, and no
generator state has to be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators._threads import run


class Noise(Protocol):
    """Fresh standard normal numbers for the samples at hand: a new draw at every call."""

    def __call__(self, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """(samples, *shape), by default of the image's shape and dtype."""


@dataclass(frozen=True)
class NoiseSource:
    """Standard normal images, reproducible by address.

    Args:
        seed: of the whole run.
        shape: of one image; its first axis counts slices where there are three.
        dtype: of the image; complex noise has unit variance per real component.
        device: where the image lives. Noise is drawn on the CPU and moved, so that devices agree.
    """

    seed: int
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")

    def draw(
        self,
        samples: Sequence[int],
        step: int,
        draw: int = 0,
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """(samples, *shape): draw number `draw` of step `step` for the given sample numbers.

        `shape` and `dtype` are the image's unless given, as for noise of the measurements' kind.
        """
        shape, dtype = self.shape if shape is None else shape, dtype or self.dtype
        parts = (2,) if dtype.is_complex else ()
        slices = shape if len(shape) == 3 else (1, *shape)
        noise = np.empty((len(samples), *slices, *parts), np.float32)

        def fill(i: int, k: int) -> None:
            key = np.random.SeedSequence(self.seed, spawn_key=(samples[i], step, draw, k))
            np.random.default_rng(key).standard_normal(dtype=np.float32, out=noise[i, k])

        run(fill, [(i, k) for i in range(len(samples)) for k in range(slices[0])])
        images = torch.from_numpy(noise).reshape(len(samples), *shape, *parts)
        return (torch.view_as_complex(images) if parts else images).to(self.device, dtype)
