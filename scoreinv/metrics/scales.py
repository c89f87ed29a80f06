"""The scale that people read images of a modality on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MU_WATER = 0.02  # 1/mm


@dataclass(frozen=True)
class Scale:
    """What people read of an image.

    Attributes:
        read: from an image to the real numbers that are compared and shown, any shape.
        span: the range that metrics relate errors to.
        window: shown from black to white.
        error: largest error shown, to either side.
        unit: of the numbers, for captions.
        colours: what black to white runs over; matplotlib's name.
    """

    read: Callable[[Tensor], Tensor]
    span: float
    window: tuple[float, float]
    error: float
    unit: str
    colours: str = "gray"


def to_hu(mu: Tensor) -> Tensor:
    """Linear attenuation in 1/mm -> HU, any shape."""
    return 1000 * (mu / MU_WATER - 1)


def to_attenuation(hu: Tensor) -> Tensor:
    """HU -> linear attenuation in 1/mm, any shape."""
    return MU_WATER * (1 + hu / 1000)


HOUNSFIELD = Scale(to_hu, 2000.0, (-1000.0, 1000.0), 400.0, "HU")


def magnitudes(image: Tensor) -> Scale:
    """Magnitudes, related to the largest of an image that there is; shown up to nearly all of its own."""
    peak, bright = float(image.abs().max()), float(np.percentile(image.abs().cpu().numpy(), 99.5))
    return Scale(torch.abs, peak, (0.0, bright), 0.2 * bright, "of the image")


def activities(image: Tensor) -> Scale:
    """Activity, related to the largest of an image that there is; dark is high, up to nearly all of its own."""
    peak, bright = float(image.max()), float(np.percentile(image.cpu().numpy(), 99.5))
    return Scale(lambda x: x, peak, (0.0, bright), 0.4 * bright, "of the image", "gray_r")
