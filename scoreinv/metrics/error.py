"""The size of the error, voxel by voxel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoreinv.metrics._checks import check_mask, check_pair
from scoreinv.metrics.scale import HOUNSFIELD, Scale


def psnr(image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio, dB: 10 log10(span^2 / mean (image - reference)^2). Inf for equal images.

    Args:
        image: any shape.
        reference: of the same shape.
        scale: what is read of both, and the span.
        mask: bool, voxels that count; None is all.

    Raises:
        TypeError: for a mask that is not bool.
        ValueError: for shapes that differ, or a mask that chooses nothing.
    """
    error, _ = _read("psnr", image, reference, scale, mask)
    mse = float(error.square().mean())
    return math.inf if mse == 0 else 10 * math.log10(scale.span**2 / mse)


def nrmse(image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD, mask: Tensor | None = None) -> float:
    """Root of the mean squared error, as a share of the reference's: ||image - reference|| / ||reference||.

    The norms are those of what is read: in HU, whose zero is water, the denominator is small for soft tissue. The
    relative error of attenuation is the one of `Scale(lambda mu: mu, ...)`. Inf for a reference of zeros.

    Args:
        image: any shape.
        reference: of the same shape.
        scale: what is read of both.
        mask: bool, voxels that count; None is all.

    Raises:
        TypeError: for a mask that is not bool.
        ValueError: for shapes that differ, or a mask that chooses nothing.
    """
    error, truth = _read("nrmse", image, reference, scale, mask)
    size, norm = float(torch.linalg.vector_norm(error)), float(torch.linalg.vector_norm(truth))
    return size / norm if norm > 0 else (0.0 if size == 0 else math.inf)


def _read(metric: str, image: Tensor, reference: Tensor, scale: Scale, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Error and reference at the voxels that count, float64."""
    check_pair(metric, image, reference)
    truth = scale.read(reference).double()
    error = scale.read(image).double() - truth
    if mask is None:
        return error, truth
    check_mask(metric, image, mask)
    return error[mask], truth[mask]
