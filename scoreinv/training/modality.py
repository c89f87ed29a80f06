"""What training must know of a kind of images, and nothing else in `scoreinv.training` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import Image
from scoreinv.priors.intensity import IntensityMap
from scoreinv.training.slices import Slices


@dataclass(frozen=True)
class Modality:
    """From files and phantoms to training images.

    Attributes:
        title, units: of the images and of network units, for the card.
        channels: of the image the network denoises.
        references: channels beside them that it is told, or zeros where it is not.
        intensity: from network units to the image's.
        air: network value of what surrounds the patient.
        fill: what stands for it in `Slices`.
        stored: the images of one subject, one a contrast, as int16 (contrasts, z, y, x).
        phantom: (seed, number, range of pixel sizes) -> slices of one procedural anatomy.
        look: (generator, window (contrasts, y, x), dropout) -> (channels + references, y, x), network units; `dropout`
            is the probability of no reference.
    """

    title: str
    units: str
    channels: int
    references: int
    intensity: IntensityMap
    air: float
    fill: float
    stored: Callable[[Sequence[Image]], Tensor]
    phantom: Callable[[int, int, tuple[float, float]], Slices]
    look: Callable[[np.random.Generator, Tensor, float], Tensor]


def one_grid(images: Sequence[Image]) -> list[Tensor]:
    """Images of one subject as float32, which must be of one shape."""
    shapes = {tuple(image.data.shape) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"train: contrasts of one subject have shapes {sorted(shapes)}, expected one grid; resample them"
        )
    return [image.data.to(torch.float32) for image in images]
