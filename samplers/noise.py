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
        address = [(sample, step, draw) for sample in samples]
        images = [self._image(where, self.shape if shape is None else shape, dtype or self.dtype) for where in address]
        return torch.stack(images).to(self.device)

    def _image(self, address: tuple[int, int, int], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        slices = shape[0] if len(shape) == 3 else 1
        parts = (2,) if dtype.is_complex else ()
        noise = np.empty((slices, *shape[-2:], *parts) if slices > 1 else (*shape, *parts), np.float32)
        each = noise if slices > 1 else noise[None]

        def fill(k: int) -> None:
            key = np.random.SeedSequence(self.seed, spawn_key=(*address, k))
            np.random.default_rng(key).standard_normal(dtype=np.float32, out=each[k])

        run(fill, [(k,) for k in range(len(each))])
        image = torch.from_numpy(noise)
        return (torch.view_as_complex(image) if parts else image).to(dtype)
