"""Visual information fidelity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from scoreinv.metrics.scales import HOUNSFIELD, Scale
from scoreinv.metrics.similarity import check

_NOISE = 2.0  # variance of the visual noise, where images run from 0 to 255
_SCALES = 4
_TINY = 1e-10

Array = NDArray[np.float64]


def vif(image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD) -> float:
    """How much of the information in the reference can be read from the image (Sheikh and Bovik 2006, IEEE TIP 15:430).

    The form in the domain of pixels: at four scales, with windows of 17, 9, 5 and 3 pixels, the image is locally g
    times the reference plus noise of variance v, and both are seen through noise of variance 2 [eq. 10 and 13],

        VIF = sum log(1 + g^2 s^2 / (v + 2)) / sum log(1 + s^2 / 2),   s^2 the local variance of the reference,

    the span of the scale being 255. 1 for the reference itself, 0 for nothing of it, above 1 for more contrast; sums
    run over all axial slices.

    Args:
        image, reference: (y, x) or (z, y, x), at least 41 pixels a side.

    Returns:
        NaN for smaller images and for a reference without any contrast.

    Raises:
        ValueError: for images of different shapes.
    """
    check(image, reference, None)
    # Three halvings after a window each: what is left of 41 pixels is one window.
    if min(image.shape[-2:]) < 41:
        return float("nan")
    a, b = (
        255 / scale.span * scale.read(x).reshape(-1, *x.shape[-2:]).double().cpu().numpy() for x in (image, reference)
    )
    parts = np.sum([_information(one, other) for one, other in zip(a, b, strict=True)], 0)
    return float(parts[0] / parts[1]) if parts[1] > 0 else float("nan")


def _information(image: Array, reference: Array) -> tuple[float, float]:
    """Of one slice: what is kept, and what there was."""
    kept = whole = 0.0
    for level in range(_SCALES):
        window = 2 ** (_SCALES - level) + 1
        if level:
            image, reference = (_local(x, window)[::2, ::2] for x in (image, reference))
        mean_a, mean_b = _local(image, window), _local(reference, window)
        var_a = np.maximum(_local(image**2, window) - mean_a**2, 0)
        var_b = np.maximum(_local(reference**2, window) - mean_b**2, 0)
        covariance = _local(image * reference, window) - mean_a * mean_b
        gain = covariance / (var_b + _TINY)
        noise = var_a - gain * covariance
        flat_b, flat_a, against = var_b < _TINY, var_a < _TINY, gain < 0
        gain[flat_b | flat_a | against] = 0
        noise = np.where(flat_b | against, var_a, np.where(flat_a, 0, noise))
        var_b[flat_b] = 0
        kept += float(np.log1p(gain**2 * var_b / (np.maximum(noise, _TINY) + _NOISE)).sum())
        whole += float(np.log1p(var_b / _NOISE).sum())
    return kept, whole


def _local(x: Array, window: int) -> Array:
    """Gaussian mean over windows of so many pixels a side, a fifth of them its standard deviation, where they fit."""
    half = window // 2
    return gaussian_filter(x, window / 5, radius=half)[half:-half, half:-half]
