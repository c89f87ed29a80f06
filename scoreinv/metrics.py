"""How near an image is to a reference. CT in 1/mm; both metrics use a range of 2000 HU."""

from __future__ import annotations

import numpy as np
from torch import Tensor

MU_WATER = 0.02  # 1/mm
HU_RANGE = 2000.0
SSIM_WINDOW = 11  # pixels: 3.5 standard deviations of 1.5 pixels to either side


def to_hu(mu: Tensor) -> Tensor:
    """Linear attenuation in 1/mm -> HU, any shape."""
    return 1000 * (mu / MU_WATER - 1)


def to_attenuation(hu: Tensor) -> Tensor:
    """HU -> linear attenuation in 1/mm, any shape."""
    return MU_WATER * (1 + hu / 1000)


def psnr(image: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio over the whole volume, dB; images (z, y, x) in 1/mm. Inf for equal images."""
    mse = float((to_hu(image) - to_hu(reference)).double().square().mean())
    return float("inf") if mse == 0 else 10 * float(np.log10(HU_RANGE**2 / mse))


def ssim(image: Tensor, reference: Tensor) -> float:
    """Structural similarity (Wang et al. 2004, Gaussian window), mean over axial slices; images (z, y, x) in 1/mm.

    NaN where slices are smaller than the window, 11 pixels a side.
    """
    from skimage.metrics import structural_similarity

    if min(image.shape[-2:]) < SSIM_WINDOW:
        return float("nan")
    pairs = zip(to_hu(image).cpu().numpy(), to_hu(reference).cpu().numpy(), strict=True)
    values = [
        structural_similarity(a, b, data_range=HU_RANGE, gaussian_weights=True, use_sample_covariance=False)
        for a, b in pairs
    ]
    return float(np.mean(values))
