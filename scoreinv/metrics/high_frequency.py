"""The error of edges and fine detail."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_laplace
from torch import Tensor

from scoreinv.metrics._checks import check_mask, check_pair
from scoreinv.metrics.scale import HOUNSFIELD, Scale

SIGMA = 1.5  # pixels
RADIUS = 7  # pixels: a kernel of 15 x 15


def hfen(image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD, mask: Tensor | None = None) -> float:
    """High-frequency error norm: ||LoG(image) - LoG(reference)|| / ||LoG(reference)||.

    LoG is the Laplacian of a Gaussian of 1.5 pixels in a kernel of 15 x 15 pixels on axial slices (Ravishankar and
    Bresler 2011, section IV.A). An offset of the whole image changes nothing. Inf where the reference has no edges.

    Args:
        image: (z, y, x) or (y, x).
        reference: of the same shape.
        scale: what is read of both.
        mask: bool, voxels whose filtered values count; None is all.

    Raises:
        TypeError: for a mask that is not bool.
        ValueError: for shapes that differ, or a mask that chooses nothing.
    """
    check_pair("hfen", image, reference)
    error, detail = _filtered(scale.read(image) - scale.read(reference)), _filtered(scale.read(reference))
    if mask is not None:
        check_mask("hfen", image, mask)
        chosen = mask.cpu().numpy()
        error, detail = error[chosen], detail[chosen]
    size, norm = float(np.linalg.norm(error)), float(np.linalg.norm(detail))
    return size / norm if norm > 0 else (0.0 if size == 0 else math.inf)


def _filtered(image: Tensor) -> np.ndarray:
    values = image.double().cpu().numpy()
    # The constant is taken off first: the filter's rounding is relative to it, and HU of air is -1000.
    return gaussian_laplace(values - values.mean(), SIGMA, axes=(-2, -1), truncate=RADIUS / SIGMA)
