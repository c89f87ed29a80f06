"""Texture of noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def noise_power_spectrum(
    regions: Tensor, pixel_size: tuple[float, float], bins: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radial noise power spectrum of slices of a uniform object (ICRU 87, eq. 4.12).

        NPS(f) = dx dy / (Nx Ny) <|FFT(region - mean)|^2>,

    a mean over regions and over rings of |f|. Its integral over both frequencies is the variance.

    Args:
        regions: (regions, y, x), the same place in repeated scans or places alike in one, any unit.
        pixel_size: (y, x) mm.
        bins: rings; None takes half as many as the shorter side has pixels.

    Returns:
        Frequencies of the rings in 1/mm, up to the lower of the two Nyquist frequencies, and NPS in unit^2 mm^2.

    Raises:
        ValueError: for regions that are not (regions, y, x).
    """
    if regions.ndim != 3 or min(regions.shape) < 1:
        raise ValueError(f"noise_power_spectrum: regions have shape {tuple(regions.shape)}, expected (regions, y, x)")
    y, x = regions.shape[-2:]
    noise = regions.double().cpu().numpy()
    noise = noise - noise.mean((-2, -1), keepdims=True)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(0) * pixel_size[0] * pixel_size[1] / (y * x)
    rows, columns = (np.fft.fftfreq(n, size) for n, size in zip((y, x), pixel_size, strict=True))
    radius = np.hypot(rows[:, None], columns[None])
    edges = np.linspace(0, 0.5 / max(pixel_size), (bins or min(y, x) // 2) + 1)
    # The mean was taken away, and with it what there is at frequency 0.
    ring = np.digitize(radius, edges) - 1
    ring[0, 0] = len(edges)
    inside = ring < len(edges) - 1
    counts = np.bincount(ring[inside], minlength=len(edges) - 1)
    sums = np.bincount(ring[inside], power[inside], minlength=len(edges) - 1)
    filled = counts > 0
    return (0.5 * (edges[:-1] + edges[1:]))[filled], sums[filled] / counts[filled]
