"""How near an image is to a reference, a number for both.

Images are (y, x) or (z, y, x), of one shape; a mask of that shape keeps the voxels where it is not zero.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_laplace
from torch import Tensor

from scoreinv.metrics.scales import HOUNSFIELD, Scale

SSIM_WINDOW = 11  # pixels: 3.5 standard deviations of 1.5 pixels to either side
_LOG_WIDTH = 1.5  # pixels, of the Laplacian of a Gaussian


def psnr(image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio over all voxels, or those of the mask, dB. Inf for equal images.

    Raises:
        ValueError: for images or a mask of different shapes, or an empty mask.
    """
    check(image, reference, mask)
    squares = (scale.read(image) - scale.read(reference)).double().square()
    mse = float(squares.mean() if mask is None else squares[mask != 0].mean())
    return float("inf") if mse == 0 else 10 * float(np.log10(scale.span**2 / mse))


def ssim(
    image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD, mask: Tensor | None = None, volume: bool = False
) -> float:
    """Structural similarity (Wang et al. 2004, IEEE TIP 13:600, eq. 13; Gaussian window of 1.5 pixels).

    Mean over axial slices, or, with `volume`, of windows in all three directions. Constants are those of the span of
    the scale. With a mask, the mean of its voxels. NaN where an image is smaller than the window, 11 pixels a side.

    Raises:
        ValueError: for images or a mask of different shapes, or an empty mask.
    """
    from skimage.metrics import structural_similarity

    check(image, reference, mask)
    if min(image.shape if volume else image.shape[-2:]) < SSIM_WINDOW:
        return float("nan")
    shape = image.shape if volume else (-1, *image.shape[-2:])
    a, b = (scale.read(x).reshape(shape).cpu().numpy() for x in (image, reference))
    settings = {"data_range": scale.span, "gaussian_weights": True, "use_sample_covariance": False}
    pairs = [(a, b)] if volume else list(zip(a, b, strict=True))
    results = [structural_similarity(one, other, full=mask is not None, **settings) for one, other in pairs]
    if mask is None:
        return float(np.mean(results))
    maps = np.stack([similarity for _, similarity in results]).reshape(image.shape)
    return float(maps[mask.cpu().numpy() != 0].mean())


def nrmse(image: Tensor, reference: Tensor, mask: Tensor | None = None) -> float:
    """||image - reference|| / ||reference||, real or complex, in the image's own unit; NaN for a reference of zeros.

    Raises:
        ValueError: for images or a mask of different shapes, or an empty mask.
    """
    check(image, reference, mask)
    if mask is not None:
        image, reference = image[mask != 0], reference[mask != 0]
    size = float(torch.linalg.vector_norm(reference))
    return float(torch.linalg.vector_norm(image - reference)) / size if size else float("nan")


def hfen(image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD, mask: Tensor | None = None) -> float:
    """High-frequency error norm (Ravishankar and Bresler 2011, IEEE TMI 30:1028, section IV.A).

    Error of the slices' edges, || L image - L reference || / || L reference || with the Laplacian L of a Gaussian of
    1.5 pixels; NaN for a reference without any.

    Raises:
        ValueError: for images or a mask of different shapes, or an empty mask.
    """
    check(image, reference, mask)

    def edges(x: Tensor) -> Tensor:
        slices = scale.read(x).double().cpu().numpy().reshape(-1, *x.shape[-2:])
        filtered = np.stack([gaussian_laplace(each, _LOG_WIDTH) for each in slices]).reshape(x.shape)
        return torch.from_numpy(filtered)

    return nrmse(edges(image), edges(reference), None if mask is None else mask.cpu())


def check(image: Tensor, reference: Tensor, mask: Tensor | None) -> None:
    """Raises ValueError unless shapes agree and the mask, if any, keeps something."""
    if image.shape != reference.shape:
        raise ValueError(
            f"metrics: image has shape {tuple(image.shape)}, reference {tuple(reference.shape)}; expected one shape"
        )
    if mask is None:
        return
    if mask.shape != image.shape:
        raise ValueError(f"metrics: mask has shape {tuple(mask.shape)}, expected the images', {tuple(image.shape)}")
    if not bool((mask != 0).any()):
        raise ValueError("metrics: mask is zero everywhere; expected voxels to compare")
