"""Images on a grid of other voxels, cropped or filled up about their middle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def resampled(
    values: Tensor,
    voxel_size: Sequence[float],
    new_shape: Sequence[int],
    new_voxel_size: Sequence[float],
    fill: float,
) -> Tensor:
    """An image on a new grid whose middle is its own.

    Axis by axis, with a triangle two voxels wide, of the old grid or the new one, whichever is coarser: interpolation
    where the new voxels are the smaller ones, and an average that leaves no aliases where they are larger.

    Args:
        values: (*image), real.
        voxel_size: of the image, one length an axis, mm.
        new_shape: voxels of the new grid; an image that reaches beyond it is cropped.
        new_voxel_size: its lengths, mm.
        fill: value beyond the image.

    Returns:
        new_shape, of the dtype of the values.
    """
    values = values - fill
    for axis, (size, n, new_size) in enumerate(zip(voxel_size, new_shape, new_voxel_size, strict=True)):
        weights = _weights(values.shape[axis], n, new_size / size).to(values)
        values = torch.tensordot(weights, values, dims=([1], [axis])).movedim(0, axis)
    return values + fill


def _weights(old: int, new: int, ratio: float) -> Tensor:
    """(new, old) weights of the old voxels in each new one; new voxels are `ratio` times as long."""
    place = (np.arange(new) - (new - 1) / 2) * ratio + (old - 1) / 2
    triangle = np.clip(1 - np.abs(place[:, None] - np.arange(old)) / max(1.0, ratio), 0, None)
    inside = np.abs(place - (old - 1) / 2) <= old / 2
    total = triangle.sum(1, keepdims=True)
    return torch.from_numpy(np.where(inside[:, None] & (total > 0), triangle / np.where(total > 0, total, 1), 0.0))
