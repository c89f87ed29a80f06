"""What was measured of one image, and what is done to it before coils are calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import KSpace
from scoreinv.operators import coil_compression, prewhiten


@dataclass(frozen=True)
class Acquisition:
    """The scan of one image, and what else is known of it.

    Attributes:
        k_space: its data.
        sigma: of their noise, per real component; None where nobody knows.
        maps: (coils, *image), those of the simulation; None where they are to be found in the data.
        truth: (*image) complex, where it is known.
    """

    k_space: KSpace
    sigma: float | None = None
    maps: Tensor | None = None
    truth: Tensor | None = None

    def whitened(self) -> Acquisition:
        """With independent channels of equal noise, in the unit of the data, where there is a noise scan."""
        k = self.k_space
        if k.noise is None:
            return self
        _, matrix = prewhiten(k.data, k.noise)
        sigma = float(torch.linalg.det(matrix).abs() ** (-1 / len(matrix)))  # so that the channels' mean gain is 1
        return replace(self._mixed(sigma * matrix), sigma=sigma)

    def compressed(self, coils: int | None) -> Acquisition:
        """Seen by so many virtual coils, or as it is where there are no more."""
        if coils is None or coils >= len(self.k_space.data):
            return self
        return self._mixed(coil_compression(self.k_space.data, coils)[1])

    def _mixed(self, matrix: Tensor) -> Acquisition:
        maps = None if self.maps is None else torch.tensordot(matrix, self.maps, 1)
        return replace(self, k_space=self.k_space.mixed(matrix), maps=maps)

    def held_out(self, share: float, calibration: int, rng: np.random.Generator) -> tuple[Acquisition, KSpace]:
        """The scan without a share of its samples, and those alone.

        Cartesian samples are drawn one by one, outside the block in the middle that calibrates the coils; otherwise
        whole shots are.
        """
        k = self.k_space
        if k.mask is not None:
            middle = torch.zeros_like(k.mask)
            half = calibration // 2
            middle[tuple(slice(max(0, n // 2 - half), n // 2 + half) for n in k.mask.shape)] = True
            drawn = torch.from_numpy(rng.random(k.mask.shape) < share) & k.mask & ~middle
            if not drawn.any():
                raise ValueError(f"input.hold_out: {share:g} of the samples are none; expected a larger share")
            kept, hidden = (replace(k, data=k.data * mask, mask=mask) for mask in (k.mask & ~drawn, drawn))
        else:
            assert k.trajectory is not None
            shots = len(k.trajectory)
            drawn = torch.zeros(shots, dtype=torch.bool)
            drawn[torch.from_numpy(rng.permutation(shots)[: max(1, round(share * shots))])] = True
            kept, hidden = (
                replace(k, data=k.data[:, shown], trajectory=k.trajectory[shown]) for shown in (~drawn, drawn)
            )
        return replace(self, k_space=kept), hidden
