"""How strongly A^H A of MRI answers to each frequency, on average over the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mean_response(kernel: Tensor, maps: Tensor) -> Tensor:
    """||A e_f||^2 for the waves e_f of the discrete Fourier transform, of norm 1; (*image) float32, frequency 0 first.

    (A^H A)(r, r') = K(r - r') sum over coils of conj(S_c(r)) S_c(r'). What the waves see of it is its mean along the
    diagonals, those that are a whole image apart added up: the circulant nearest to it [Chan 1988, SIAM J. Sci. Stat.
    Comput. 9:766-771].

    Args:
        kernel: K of offsets 0, ..., n - 1, -n, ..., -1 along every axis, (*2 image) complex128.
        maps: (coils, *image) complex64.
    """
    shape = tuple(maps.shape[1:])
    overlap = torch.zeros_like(kernel)
    for coil in maps:
        overlap += torch.fft.fftn(coil.to(kernel.dtype), s=kernel.shape).abs().square()
    diagonals = kernel * torch.fft.ifftn(overlap).conj() / math.prod(shape)
    for axis, n in enumerate(shape):
        diagonals = diagonals.narrow(axis, 0, n) + diagonals.narrow(axis, n, n)
    return torch.fft.fftn(diagonals).real.clamp(min=0).float()
