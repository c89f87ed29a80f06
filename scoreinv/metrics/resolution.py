"""How sharp a straight edge is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BINS = 8  # a pixel
LEAST = 16  # pixels a side


@dataclass(frozen=True)
class EdgeResponse:
    """A modulation transfer function.

    Attributes:
        frequencies: (n,) 1/mm, from 0 to Nyquist's of the pixels.
        mtf: (n,) without unit, 1 at frequency 0.
    """

    frequencies: Tensor
    mtf: Tensor

    def at(self, level: float) -> float:
        """First frequency, 1/mm, where the function has fallen to `level` (0.5, 0.1), linearly between its values.

        NaN where it stays above up to Nyquist's frequency.
        """
        below = (self.mtf <= level).nonzero()
        if len(below) == 0 or int(below[0]) == 0:
            return float("nan")
        k = int(below[0])
        high, low = float(self.mtf[k - 1]), float(self.mtf[k])
        share = (high - level) / (high - low)
        return float(self.frequencies[k - 1] + share * (self.frequencies[k] - self.frequencies[k - 1]))


def mtf_at_edge(region: Tensor, pixel_size: tuple[float, float]) -> EdgeResponse:
    """Modulation transfer function across a straight, slanted edge (ISO 12233:2017, annex D; Samei et al. 1998).

    The edge is a line fitted to the centroids of the derivative; pixels are sorted by their distance from it into
    bins of an eighth of a pixel, whose means are the edge spread function. Its derivative, the line spread function,
    under a Hann window about the edge, is transformed and divided by what bins and difference do to it themselves.

    Args:
        region: (y, x), real: one edge from side to side, and little else; a few degrees off the axes, so that pixels
            lie at all distances from it. At least 16 pixels a side.
        pixel_size: (y, x), mm.

    Raises:
        TypeError: for a complex region.
        ValueError: for another shape, sizes that are not positive, a region without an edge, or an edge so near an axis
            that pixels leave distances out.
    """
    if region.is_complex():
        raise TypeError("mtf_at_edge: region is complex, expected real; pass its magnitude")
    if region.ndim != 2 or min(region.shape) < LEAST:
        raise ValueError(f"mtf_at_edge: region has shape {tuple(region.shape)}, expected (y, x), each at least {LEAST}")
    if len(pixel_size) != 2 or min(pixel_size) <= 0:
        raise ValueError(f"mtf_at_edge: pixel_size is {tuple(pixel_size)}, expected (y, x), positive, in mm")
    values = region.double().cpu().numpy()
    down, across = (np.abs(np.diff(values.mean(1 - axis))).sum() for axis in (0, 1))
    # Along the rows of `values` the edge is crossed.
    if down > across:
        values, (along, over) = values.T, (pixel_size[1], pixel_size[0])
    else:
        along, over = pixel_size
    distance = _distance(values, along, over)
    width = min(along, over) / BINS
    spread = _edge_spread(distance, values, width)
    line = np.diff(spread)
    size = len(line)
    line = line * np.hanning(size + 2)[1:-1]
    if line.sum() == 0:
        raise ValueError("mtf_at_edge: both sides of the region are equal; expected an edge between them")
    # Zeros on both sides refine the frequencies and change no value.
    padded = 4 * size
    frequencies = np.fft.rfftfreq(padded, width)
    transfer = np.abs(np.fft.rfft(line, padded)) / abs(line.sum())
    # A bin's mean and the difference of two are each a box of a bin's width.
    transfer = transfer / np.sinc(frequencies * width) ** 2
    shown = frequencies <= 0.5 / max(along, over)
    return EdgeResponse(torch.from_numpy(frequencies[shown]), torch.from_numpy(transfer[shown]))


def _distance(values: np.ndarray, along: float, over: float) -> np.ndarray:
    """Signed distance of every pixel from the edge, mm."""
    rows, columns = (np.arange(n) for n in values.shape)
    slope = np.abs(np.gradient(values, axis=1)) ** 2
    if not slope.any():
        raise ValueError("mtf_at_edge: region is constant along its rows; expected an edge across them")
    # Squares: the weak derivative of noise, which is everywhere, would draw the centroid to the middle. Then twice
    # within a window about the line: a centroid within the whole row is drawn there still.
    line = np.polyfit(rows, (slope @ columns) / np.maximum(slope.sum(1), 1e-300), 1)
    for _ in range(3):
        near = np.exp(-0.5 * ((columns - np.polyval(line, rows)[:, None]) / 5) ** 2) * slope
        line = np.polyfit(rows, (near @ columns) / np.maximum(near.sum(1), 1e-300), 1)
    tilt = line[0] * over / along
    return (columns - np.polyval(line, rows)[:, None]) * over / np.hypot(1, tilt)


def _edge_spread(distance: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """Means of the values in bins of distance, as far as both sides reach everywhere."""
    reach = min(-distance[:, 0].max(), distance[:, -1].min())
    count = int(reach / width)
    if count < 4 * BINS:
        raise ValueError(
            "mtf_at_edge: the edge leaves the region through a side that it should not, or lies within four pixels of "
            "one; expected it in the middle, from top to bottom or from left to right"
        )
    index = np.floor(distance / width).astype(int) + count
    inside = (index >= 0) & (index < 2 * count)
    number = np.bincount(index[inside], minlength=2 * count)
    if (number == 0).any():
        raise ValueError(
            "mtf_at_edge: no pixels at some distances from the edge; expected an edge a few degrees off the axes, and "
            "more rows across it"
        )
    return np.bincount(index[inside], values[inside], minlength=2 * count) / number
