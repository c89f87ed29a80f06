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
        placed: from an image of `operator.in_shape` to the same where it lies in the patient, on the CPU.
        scale: on which images are compared and shown.
        held_out: operator of measurements that no method sees, and these; None if there are none.
        prior_device: where the network of a prior computes, if not where the measurements are.
    """

    operator: LinearOperator
    measurements: Tensor
    likelihood: Likelihood
    reference: Tensor | None
    placed: Callable[[Tensor], Image]
    scale: Scale
    held_out: tuple[LinearOperator, Tensor] | None = None
    prior_device: torch.device | None = None

    def to(self, device: torch.device | str) -> Case:
        """The same to be computed on another device. Raises ValueError if the operator cannot."""
        held_out, reference = self.held_out, self.reference
        return replace(
            self,
            operator=self.operator.to(device),
            measurements=self.measurements.to(device),
            likelihood=self.likelihood.to(device),
            reference=None if reference is None else reference.to(device),
            held_out=None if held_out is None else (held_out[0].to(device), held_out[1].to(device)),
        )

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """(z, y, x) mm, of images where they lie in the patient."""
        return self.placed(torch.zeros(self.operator.in_shape, dtype=self.operator.in_dtype)).voxel_size


def lying_on(grid: Image | Volume) -> Callable[[Tensor], Image]:
    """Where results lie: on the image that was scanned, or the grid reconstructed on."""
    if isinstance(grid, Image):
        return lambda x: replace(grid, data=x.cpu())
    z, y, x = grid.first_voxel.tolist()
    return lambda image: Image(image.cpu(), grid.voxel_size, (z, y, x))
