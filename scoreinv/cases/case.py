"""What a run reconstructs, whatever its modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.io import Image
from scoreinv.metrics import Scale
from scoreinv.operators import Likelihood, LinearOperator


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
