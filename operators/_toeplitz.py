"""A^H A of non-uniform Fourier samples, which is a convolution: two FFTs and no NUFFT.

A^H A x (r) = sum over r' of K(r - r') x(r') with the point spread K(d) = sum over k of exp(i k . d). A circular
convolution on a grid twice as wide holds it exactly [Fessler et al. 2005, IEEE TSP 53:3393-3402].

That grid is never filled. Of the discrete Fourier transform of m values padded to 2m, the even frequencies are the
transform of the values themselves, and the odd ones that of the values times exp(-i pi r / m). So the work falls into
2^d convolutions on grids of the image's own size, few at a time, and memory does not grow with 2^d.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from scoreinv.operators._nufft import point_spread


class Toeplitz:
    """x -> sum over coils of conj(S_c) T (S_c x), with the Toeplitz matrix T of points of k-space.

    Args:
        points: (points, d), rad per voxel, axes in the order of the image's.
        image_shape: (*image).
        scale: factor of the point spread.
        device: of the images.
    """

    def __init__(self, points: Tensor, image_shape: tuple[int, ...], scale: float, device: torch.device) -> None:
        from scipy.fft import next_fast_len

        self.image_shape = image_shape
        self._grid = tuple(int(next_fast_len(n)) for n in image_shape)
        kernel = torch.from_numpy(point_spread(points, tuple(2 * m for m in self._grid)))
        axes = tuple(range(kernel.ndim))
        # Real, since K(-d) is the conjugate of K(d). The offset -m has no partner, and no pair of voxels is so far
        # apart.
        spectrum = torch.fft.fftn(torch.fft.ifftshift(kernel, axes), dim=axes).real * (scale / 2 ** len(axes))
        parities = list(itertools.product((0, 1), repeat=len(axes)))
        self._odd = torch.tensor(parities, dtype=torch.float64, device=device)
        parts = [spectrum[tuple(slice(odd, None, 2) for odd in parity)] for parity in parities]
        self._spectra = torch.stack(parts).to(device, torch.float32)

    def apply(self, x: Tensor, maps: Tensor | None, chunk: int) -> Tensor:
        """(items, *image) -> (items, *image), working on about `chunk` complex numbers at a time.

        Args:
            x: (items, *image) complex64.
            maps: (coils, *image) complex64, or None for one coil of ones.
            chunk: a bound on the memory.
        """
        axes = tuple(range(-len(self._grid), 0))
        crop = (..., *(slice(n) for n in self.image_shape))
        size = max(1, len(x) * math.prod(self._grid))
        coils = (None,) if maps is None else maps.split(max(1, chunk // size))
        together = max(1, chunk // (size * (1 if maps is None else len(maps))))
        result = torch.zeros_like(x)
        for odd, spectra in zip(self._odd.split(together), self._spectra.split(together), strict=True):
            phase = self._phase(odd)
            images = x[:, None] * phase
            parts = torch.zeros_like(images)
            for some in coils:
                values = images[:, :, None] if some is None else images[:, :, None] * some
                values = torch.fft.fftn(values, s=self._grid, dim=axes)
                values *= spectra[:, None]
                values = torch.fft.ifftn(values, dim=axes)[crop]
                parts += values[:, :, 0] if some is None else (some.conj() * values).sum(2)
            result += (phase.conj() * parts).sum(1)
        return result

    def _phase(self, odd: Tensor) -> Tensor:
        """exp(-i pi r / m), multiplied over the odd axes; (parities, d) -> (parities, *image)."""
        angle = odd.new_zeros(len(odd))
        for axis, (n, m) in enumerate(zip(self.image_shape, self._grid, strict=True)):
            ramp = torch.arange(n, dtype=odd.dtype, device=odd.device) * (-math.pi / m)
            angle = angle[..., None] + odd[:, axis].reshape(-1, *[1] * axis, 1) * ramp
        return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
