"""Structural similarity."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from scoreinv.metrics._checks import check_mask, check_pair
from scoreinv.metrics.scale import HOUNSFIELD, Scale

SSIM_WINDOW = 11  # pixels: 3.5 standard deviations of 1.5 pixels to either side


def ssim(
    image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD, mask: Tensor | None = None, dims: int = 2
) -> float:
    """Structural similarity (Wang et al. 2004, equation 13, Gaussian window, K = 0.01 and 0.03 of the span).

    Voxels nearer to an edge than half a window do not count. NaN where the image is smaller than the window, 11 voxels
    a side, or the mask chooses only voxels near an edge.

    Args:
        image: (z, y, x) or (y, x).
        reference: of the same shape.
        scale: what is read of both; its span is the dynamic range.
        mask: bool, of the same shape: windows about these voxels count, whatever else they see; None is all.
        dims: 2 for the mean over axial slices, 3 for windows of the volume. A window is counted in voxels: where
            slices are thicker than pixels are wide, 3 sees farther across slices than within them.

    Raises:
        TypeError: for a mask that is not bool.
        ValueError: for shapes that differ, a mask that chooses nothing, dims other than 2 and 3, or 3 of a slice.
    """
    from skimage.metrics import structural_similarity

    check_pair("ssim", image, reference)
    if mask is not None:
        check_mask("ssim", image, mask)
    if dims not in (2, 3) or image.ndim < dims:
        raise ValueError(f"ssim: dims is {dims}, expected 2, or 3 for a volume; the image is {tuple(image.shape)}")
    shape = image.shape[-dims:]
    if min(shape) < SSIM_WINDOW:
        return float("nan")
    half = SSIM_WINDOW // 2
    inner = (slice(None), *(slice(half, n - half) for n in shape))
    a, b = (scale.read(x).reshape(-1, *shape).cpu().numpy() for x in (image, reference))
    settings = {"data_range": scale.span, "gaussian_weights": True, "use_sample_covariance": False, "full": True}
    maps = np.stack([structural_similarity(one, other, **settings)[1] for one, other in zip(a, b, strict=True)])[inner]
    counted = maps if mask is None else maps[mask.reshape(-1, *shape).cpu().numpy()[inner]]
    return float(counted.mean(dtype=np.float64)) if counted.size else float("nan")
