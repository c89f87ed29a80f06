"""Which samples of a Cartesian grid are measured: masks of an image's shape, true where they are.

Readouts run along the last axis, x, and are measured whole; lines are chosen along y, or along z and y of a volume.
Frequency 0 lies in the middle, at index n // 2, and a block of `calibration` lines around it is always measured.
`acceleration` is the number of samples of the grid over those measured, the calibration block included, to within one
line. Masks combine with `&`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_HALVINGS = 8  # of the interval that holds the smallest distance of a Poisson disc


def equispaced(shape: Sequence[int], acceleration: float, calibration: int = 24) -> Tensor:
    """Lines at even distances beside the calibration block, as GRAPPA wants them; (*shape) bool.

    The distance makes up for the block and need not be a whole number: lines are rounded to the grid [Zbontar et al.
    2018, arXiv:1811.08839].

    Args:
        shape: (y, x), or (z, y, x) with the same lines in every z.
        acceleration: at least 1.
        calibration: lines in the middle.

    Raises:
        ValueError: if the calibration block alone measures more than the acceleration allows.
    """
    name, lines = "equispaced", _lines(shape, "equispaced")
    block = _block((lines,), calibration)
    rest = _rest(name, block, acceleration)
    outside = np.flatnonzero(~block)
    block[outside[((np.arange(rest) + 0.5) * len(outside) / max(1, rest)).astype(int)]] = True
    return _along_readout(block, shape)


def random_lines(shape: Sequence[int], acceleration: float, calibration: int = 24, seed: int = 0) -> Tensor:
    """Lines at random beside the calibration block, all alike likely; (*shape) bool.

    Args:
        shape: (y, x), or (z, y, x) with the same lines in every z.
        acceleration: at least 1.
        calibration: lines in the middle.
        seed: of the choice.

    Raises:
        ValueError: if the calibration block alone measures more than the acceleration allows.
    """
    name, lines = "random_lines", _lines(shape, "random_lines")
    block = _block((lines,), calibration)
    rest = _rest(name, block, acceleration)
    block[np.random.default_rng(seed).choice(np.flatnonzero(~block), rest, replace=False)] = True
    return _along_readout(block, shape)


def poisson_disc(
    shape: Sequence[int], acceleration: float, calibration: int = 24, seed: int = 0, density: float = 1.0
) -> Tensor:
    """Samples at random that keep their distance, which grows outwards; (*shape) bool.

    Dart throwing [Cook 1986, ACM TOG 5:51-72]: places are visited in random order, and measured unless one measured
    before is closer than r (1 + density |k| / k_max), |k| being the elliptical distance from frequency 0 and k_max that
    of an edge. The largest r that leaves enough samples is found, and samples too many are dropped at random.

    Args:
        shape: (y, x), both axes phase-encoded; or (z, y, x), whose samples are whole readouts along x.
        acceleration: at least 1.
        calibration: side of the square in the middle.
        seed: of the choice.
        density: how much the distance grows from the middle to the edge; 0 keeps it even.

    Raises:
        ValueError: if the calibration block alone measures more than the acceleration allows, or density is negative.
    """
    if not density >= 0:
        raise ValueError(f"poisson_disc: density is {density}, expected 0 (even) or more")
    plane = _shape(shape, "poisson_disc")[:2]
    block = _block(plane, calibration)
    rest = _rest("poisson_disc", block, acceleration)
    rng = np.random.default_rng(seed)
    order = rng.permutation(block.size)
    y, x = np.ogrid[: plane[0], : plane[1]]
    growth = 1 + density * np.hypot((y - plane[0] // 2) / (plane[0] / 2), (x - plane[1] // 2) / (plane[1] / 2))
    low, high = 0.0, 2 * math.sqrt(acceleration) + 1
    darts = np.flatnonzero(~block)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = _throw(order, block, middle * growth)
        if len(found) >= rest:
            low, darts = middle, found
        else:
            high = middle
    block.flat[rng.permutation(darts)[:rest]] = True
    return _along_readout(block, shape) if len(shape) == 3 else torch.from_numpy(block)


def partial_fourier(shape: Sequence[int], fraction: float) -> Tensor:
    """The first lines along y, beyond the middle by so much that they are this fraction of all; (*shape) bool.

    Args:
        shape: (y, x) or (z, y, x).
        fraction: of the lines, above 0.5 and up to 1.

    Raises:
        ValueError: for another fraction.
    """
    if not 0.5 < fraction <= 1:
        raise ValueError(f"partial_fourier: fraction is {fraction}, expected above 0.5 and up to 1, such as 6 / 8")
    lines = _lines(shape, "partial_fourier")
    return _along_readout(np.arange(lines) < max(lines // 2 + 1, round(fraction * lines)), shape)


def _throw(order: NDArray[np.intp], block: NDArray[np.bool_], radius: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places outside the block, in the order given, that no place before them, closer than its radius, forbids."""
    height, width = block.shape
    taken = block.copy()
    reach = math.ceil(radius.max())
    squares = np.arange(-reach, reach + 1) ** 2
    distance = squares[:, None] + squares
    found = []
    for place in order:
        if taken.flat[place]:
            continue
        found.append(place)
        y, x = divmod(int(place), width)
        r = radius[y, x]
        k = min(reach, math.ceil(r))
        top, left = max(0, y - k), max(0, x - k)
        bottom, right = min(height, y + k + 1), min(width, x + k + 1)
        near = distance[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach] < r * r
        taken[top:bottom, left:right] |= near
        taken[y, x] = True
    return np.array(found, dtype=np.intp)


def _block(shape: tuple[int, ...], calibration: int) -> NDArray[np.bool_]:
    """True for `calibration` places around the middle of every axis."""
    block = np.zeros(shape, dtype=bool)
    starts = [max(0, n // 2 - calibration // 2) for n in shape]
    block[tuple(slice(start, start + calibration) for start in starts)] = True
    return block


def _rest(name: str, block: NDArray[np.bool_], acceleration: float) -> int:
    """How many places to measure besides the block."""
    if not acceleration >= 1:
        raise ValueError(f"{name}: acceleration is {acceleration}, expected 1 or more")
    wanted = max(1, round(block.size / acceleration))
    if block.sum() > wanted:
        raise ValueError(
            f"{name}: the calibration block holds {block.sum()} of {block.size} places, acceleration {acceleration:g} "
            f"allows {wanted}; make the block smaller"
        )
    return wanted - int(block.sum())


def _shape(shape: Sequence[int], name: str) -> tuple[int, ...]:
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"{name}: shape is {tuple(shape)}, expected (y, x) or (z, y, x)")
    return tuple(int(n) for n in shape)


def _lines(shape: Sequence[int], name: str) -> int:
    return _shape(shape, name)[-2]


def _along_readout(chosen: NDArray[np.bool_], shape: Sequence[int]) -> Tensor:
    """(y,) or (z, y) -> (*shape)."""
    return torch.from_numpy(chosen)[..., None].expand(*shape).clone()
