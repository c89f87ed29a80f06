"""What a run reconstructs, whatever its modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scoreinv.io import Image
from scoreinv.metrics import Scale
from scoreinv.operators import Likelihood, LinearOperator, Volume


@dataclass(frozen=True)
class Case:
    """A scan to reconstruct.

    Attributes:
        operator: the scanner.
        measurements: `operator.out_shape`.
        likelihood: their noise.
        reference: the truth, or the best there is; unit of the operator's image.
        placed: from an image of `operator.in_shape` to the same where it lies in the patient.
        scale: on which images are compared and shown.
        held_out: operator of measurements that no method sees, and these; None if there are none.
    """

    operator: LinearOperator
    measurements: Tensor
    likelihood: Likelihood
    reference: Tensor | None
    placed: Callable[[Tensor], Image]
    scale: Scale
    held_out: tuple[LinearOperator, Tensor] | None = None

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """(z, y, x) mm, of images where they lie in the patient."""
        return self.placed(torch.zeros(self.operator.in_shape, dtype=self.operator.in_dtype)).voxel_size


def lying_on(grid: Image | Volume) -> Callable[[Tensor], Image]:
    """Where results lie: on the image that was scanned, or the grid reconstructed on."""
    if isinstance(grid, Image):
        return lambda x: replace(grid, data=x)
    z, y, x = grid.first_voxel.tolist()
    return lambda image: Image(image, grid.voxel_size, (z, y, x))
