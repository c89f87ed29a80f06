"""How much of what an eye could read in the reference can be read in the image."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d
from torch import Tensor

from scoreinv.metrics._checks import check_pair
from scoreinv.metrics.scale import HOUNSFIELD, Scale

GREYS = 255.0  # the scale's span in the units of the eye's noise
EYE = 2.0  # variance of the eye's noise, grey levels squared
SMALL = 1e-10  # variances below are none
WINDOWS = (17, 9, 5, 3)  # pixels, from fine to coarse
LEAST = 41  # pixels a side, that every window has a place to stand


def vif(image: Tensor, reference: Tensor, scale: Scale = HOUNSFIELD) -> float:
    """Visual information fidelity in the pixel domain, mean over axial slices (Sheikh and Bovik 2006).

    On each of four scales, locally image = g reference + v, and with variances s^2 of the reference and s_v^2 of v

        VIF = sum log2(1 + g^2 s^2 / (s_v^2 + s_n^2)) / sum log2(1 + s^2 / s_n^2)

    over all places and scales, s_n^2 = 2 where the span is 255. Gaussian windows of 17, 9, 5 and 3 pixels, of a fifth
    of that as standard deviation; only whole windows count. 1 for equal images and above it for raised contrast; an
    offset changes nothing. It has no mask: windows reach across any border, and the coarse scales have no pixels.

    Args:
        image: (z, y, x) or (y, x).
        reference: of the same shape.
        scale: what is read of both.

    Returns:
        VIF without unit; slices where the reference is constant, which hold no information, do not count. NaN where
        slices are smaller than 41 pixels a side, or all are constant.

    Raises:
        ValueError: for shapes that differ.
    """
    check_pair("vif", image, reference)
    if min(image.shape[-2:]) < LEAST:
        return float("nan")
    a, b = (
        scale.read(x).reshape(-1, *x.shape[-2:]).double().cpu().numpy() * (GREYS / scale.span)
        for x in (image, reference)
    )
    bits = [_information(*pair) for pair in zip(a, b, strict=True)]
    values = [through / sent for through, sent in bits if sent > 0]
    return float(np.mean(values)) if values else float("nan")


def _information(image: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Bits that come through, and bits that there were, of one slice (y, x)."""
    image, reference = image - reference.mean(), reference - reference.mean()
    through, sent = 0.0, 0.0
    for level, size in enumerate(WINDOWS):
        if level > 0:
            image, reference = (_local(x, size)[::2, ::2] for x in (image, reference))
        mean, mean_ref = _local(image, size), _local(reference, size)
        var = np.maximum(_local(image**2, size) - mean**2, 0)
        var_ref = np.maximum(_local(reference**2, size) - mean_ref**2, 0)
        cov = _local(image * reference, size) - mean * mean_ref
        gain = cov / (var_ref + SMALL)
        rest = var - gain * cov
        # Where one of them is flat, or they run against each other, nothing comes through.
        flat = var_ref < SMALL
        gain, rest, var_ref = np.where(flat, 0, gain), np.where(flat, var, rest), np.where(flat, 0, var_ref)
        gain, rest = np.where(var < SMALL, 0, gain), np.where(var < SMALL, 0, rest)
        rest = np.where(gain < 0, var, rest)
        gain, rest = np.maximum(gain, 0), np.maximum(rest, SMALL)
        through += float(np.log2(1 + gain**2 * var_ref / (rest + EYE)).sum())
        sent += float(np.log2(1 + var_ref / EYE).sum())
    return through, sent


def _local(image: np.ndarray, size: int) -> np.ndarray:
    """Gaussian means over windows that lie within the image."""
    half = size // 2
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / (size / 5)) ** 2)
    taps /= taps.sum()
    return correlate1d(correlate1d(image, taps, 0), taps, 1)[half:-half, half:-half]
