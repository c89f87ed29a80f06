"""Sharpness of a system, from an edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def modulation_transfer(
    image: Tensor, distance: Tensor, bin_width: float, reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Modulation transfer across an edge whose place is known, straight or round.

    Pixels are sorted by their distance from the edge into an edge-spread function finer than the pixels. Its derivative
    is the line-spread function, the modulus of whose Fourier transform is the MTF (Richard et al. 2012, Med Phys
    39:4115, section II.B, for round edges). What the bins themselves blur is undone.

    Args:
        image: any shape and unit, constant on either side of the edge but for noise.
        distance: of every pixel's middle from the edge, with the sign of its side, mm, same shape.
        bin_width: mm; a third to a half of a pixel, where the edge runs askew to the pixels or is round.
        reach: pixels up to so far from the edge are used, mm.

    Returns:
        Frequencies in 1/mm, up to half the highest that the bins can tell, and the MTF there, 1 at 0.

    Raises:
        ValueError: for shapes that differ, an edge without contrast, or bins that no pixel falls into.
    """
    if image.shape != distance.shape:
        raise ValueError(
            f"modulation_transfer: distance has shape {tuple(distance.shape)}, expected the image's, "
            f"{tuple(image.shape)}"
        )
    values, places = image.double().cpu().numpy().ravel(), distance.double().cpu().numpy().ravel()
    half = int(reach / bin_width)
    index = np.floor(places / bin_width).astype(int) + half
    inside = (index >= 0) & (index < 2 * half)
    counts = np.bincount(index[inside], minlength=2 * half)
    if half < 2 or (counts == 0).any():
        raise ValueError(
            f"modulation_transfer: {int((counts == 0).sum())} of {2 * half} bins of {bin_width:g} mm hold no pixel; "
            "take wider bins, a shorter reach, or an edge askew to the pixels"
        )
    spread = np.bincount(index[inside], values[inside], minlength=2 * half) / counts
    line = np.diff(spread)
    step = float(line.sum())
    if step == 0:
        raise ValueError("modulation_transfer: both sides of the edge are alike; expected contrast")
    # The noise of far bins, where an edge has nothing to say, is windowed away.
    line = line * np.hanning(len(line) + 2)[1:-1]
    padded = 4 * len(line)
    frequencies = np.asarray(np.fft.rfftfreq(padded, bin_width), np.float64)
    transfer = np.abs(np.fft.rfft(line, padded))
    # A mean over a bin, and the difference of two of them, each blur by a bin's width.
    transfer = transfer / transfer[0] / np.sinc(frequencies * bin_width) ** 2
    kept = frequencies <= 0.25 / bin_width
    return frequencies[kept], transfer[kept]
