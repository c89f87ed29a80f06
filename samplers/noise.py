"""Noise that depends on nothing but what it is for.

Every slice of every draw has its own generator, seeded by (seed, sample, step, draw, slice). A sample is therefore the
same whatever the batch it is computed in, the chunks, the number of workers or the point of resumption, and no
generator state has to be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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

    def draw(self, samples: Sequence[int], step: int, draw: int = 0) -> Tensor:
        """(samples, *shape): draw number `draw` of step `step` for the given sample numbers."""
        return torch.stack([self._image(sample, step, draw) for sample in samples]).to(self.device)

    def _image(self, sample: int, step: int, draw: int) -> Tensor:
        slices = self.shape[0] if len(self.shape) == 3 else 1
        parts = (2,) if self.dtype.is_complex else ()
        noise = np.empty((slices, *self.shape[-2:], *parts) if slices > 1 else (*self.shape, *parts), np.float32)
        for k, part in enumerate(noise if slices > 1 else [noise]):
            key = np.random.SeedSequence(self.seed, spawn_key=(sample, step, draw, k))
            np.random.default_rng(key).standard_normal(dtype=np.float32, out=part)
        image = torch.from_numpy(noise)
        return (torch.view_as_complex(image) if parts else image).to(self.dtype)
