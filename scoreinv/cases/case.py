"""What a run reconstructs, whatever its modality."""

from __future__ import annotations

from dataclasses import dataclass

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
        place: where the results lie in the patient: the image that was scanned, or the grid reconstructed on.
        scale: on which images are compared and shown.
    """

    operator: LinearOperator
    measurements: Tensor
    likelihood: Likelihood
    reference: Tensor | None
    place: Image | Volume
    scale: Scale
