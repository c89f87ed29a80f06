"""A periodised orthonormal wavelet transform of images, on any device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Daubechies' filter of 4 vanishing moments (Daubechies 1992, Ten Lectures on Wavelets, table 6.1).
_LOW = (
    0.2303778133088965,
    0.7148465705529157,
    0.6308807679298589,
    -0.0279837694168599,
    -0.1870348117190931,
    0.0308413818355607,
    0.0328830116668852,
    -0.0105974017850690,
)
_HIGH = tuple((-1) ** j * h for j, h in enumerate(reversed(_LOW)))
_COARSEST = 8  # samples along an axis that are not divided further
_LEVELS = 4


class Wavelets:
    """The transform Psi of images zero-padded to `shape`, its inverse Psi^H, and soft thresholding in between.

    Attributes:
        shape: the image's, each axis padded to a multiple of two to the power of its number of levels.

    Args:
        image_shape: (*image).
    """

    def __init__(self, image_shape: Sequence[int]) -> None:
        self._levels = [
            max(0, min(_LEVELS, int(math.log2(n / _COARSEST)))) if n >= _COARSEST else 0 for n in image_shape
        ]
        self.shape = tuple(-(-n // 2**levels) * 2**levels for n, levels in zip(image_shape, self._levels, strict=True))

    @property
    def period(self) -> int:
        """Shifts by multiples of this along all axes commute with thresholding."""
        return 2 ** max(self._levels)

    @property
    def _corners(self) -> list[tuple[int, ...]]:
        """Shapes of what each level divides, and at last of the coarse image that is left."""
        return [
            tuple(n >> min(level, levels) for n, levels in zip(self.shape, self._levels, strict=True))
            for level in range(max(self._levels) + 1)
        ]

    @property
    def _divisions(self) -> list[tuple[tuple[slice, ...], list[int]]]:
        """What each level divides, and along which axes."""
        return [
            (tuple(slice(n) for n in corner), [axis for axis, n in enumerate(corner) if below[axis] < n])
            for corner, below in itertools.pairwise(self._corners)
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Psi x, (*shape) -> (*shape): the coarse image in the corner, details outwards from it."""
        coefficients = image.clone()
        for part, axes in self._divisions:
            for axis in axes:
                coefficients[part] = _split(coefficients[part], axis)
        return coefficients

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Psi^H c = Psi^-1 c, (*shape) -> (*shape)."""
        image = coefficients.clone()
        for part, axes in reversed(self._divisions):
            for axis in axes:
                image[part] = _merge(image[part], axis)
        return image

    def shrink(self, image: Tensor, threshold: float) -> Tensor:
        """argmin_x ||x - image||^2 / 2 + threshold sum |details of Psi x|, (*shape) -> (*shape)."""
        coefficients = self.forward(image)
        corner = tuple(slice(n) for n in self._corners[-1])
        coarse = coefficients[corner].clone()
        size = coefficients.abs()
        coefficients *= (size - threshold).clamp(min=0) / size.clamp(min=torch.finfo(size.dtype).tiny)
        coefficients[corner] = coarse
        return self.inverse(coefficients)


def _split(x: Tensor, axis: int) -> Tensor:
    """Low frequencies, then high ones, each of half the length: sum_j h_j x[2k + j], indices periodic."""
    even, odd = _halves(x, axis)
    low, high = torch.zeros_like(even), torch.zeros_like(even)
    for i in range(len(_LOW) // 2):
        e, o = even.roll(-i, axis), odd.roll(-i, axis)
        low.add_(e, alpha=_LOW[2 * i]).add_(o, alpha=_LOW[2 * i + 1])
        high.add_(e, alpha=_HIGH[2 * i]).add_(o, alpha=_HIGH[2 * i + 1])
    return torch.cat([low, high], axis)


def _merge(x: Tensor, axis: int) -> Tensor:
    """The transpose of `_split`."""
    low, high = x.chunk(2, axis)
    out = torch.zeros_like(x)
    even, odd = _halves(out, axis)
    for i in range(len(_LOW) // 2):
        a, b = low.roll(i, axis), high.roll(i, axis)
        even.add_(a, alpha=_LOW[2 * i]).add_(b, alpha=_HIGH[2 * i])
        odd.add_(a, alpha=_LOW[2 * i + 1]).add_(b, alpha=_HIGH[2 * i + 1])
    return out


def _halves(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Views of the even and the odd samples along an axis."""
    before = (slice(None),) * axis
    return x[(*before, slice(0, None, 2))], x[(*before, slice(1, None, 2))]
