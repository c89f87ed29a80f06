"""What metrics ask of their arguments."""

from __future__ import annotations

import torch
from torch import Tensor


def check_pair(metric: str, image: Tensor, reference: Tensor) -> None:
    """ValueError unless both have one shape: broadcasting would compare what does not belong together."""
    if image.shape != reference.shape:
        raise ValueError(
            f"{metric}: image has shape {tuple(image.shape)}, expected that of the reference, "
            f"{tuple(reference.shape)}; resample one onto the other's grid"
        )


def check_mask(metric: str, image: Tensor, mask: Tensor) -> None:
    """TypeError unless the mask is bool; ValueError unless it has the image's shape and chooses voxels."""
    if mask.dtype != torch.bool:
        raise TypeError(f"{metric}: mask is {mask.dtype}, expected bool; compare it with a threshold")
    if mask.shape != image.shape:
        raise ValueError(
            f"{metric}: mask has shape {tuple(mask.shape)}, expected that of the image, {tuple(image.shape)}; "
            "expand it to every slice"
        )
    if not mask.any():
        raise ValueError(f"{metric}: mask chooses no voxel, expected one at least; draw it on the image's grid")
