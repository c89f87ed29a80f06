"""A preconditioner that any operator can be asked for: how strongly it sees each place.

A data step solves (I + r^2 M) x = b with M = A^H W A. Weights differ from ray to ray, so that some places are seen a
thousand times more sharply than others, and conjugate gradients first go after those. The diagonal of M is measured,
not derived: for white noise n of unit variance it is E[n (M n)].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PROBES = 4
SMOOTHING = 2.0  # voxels over which the diagonal is averaged; a single one is mostly noise


def local_gain(
    normal: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The diagonal of a Hermitian positive map, smoothed over neighbours, > 0; (*image), real.

    Args:
        normal: M, (batch, *shape) -> (batch, *shape).
        shape: of the image.
        dtype, device: of the image.
    """
    probes = torch.randn(PROBES, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    diagonal = torch.zeros((), device=device)
    for noise in probes.split(1):  # one at a time, since a volume may be most of what a device holds
        noise = noise.to(device)
        diagonal = diagonal + (noise.conj() * normal(noise)).real[0] / PROBES
    gain = torch.fft.ifftn(torch.fft.fftn(diagonal) * torch.fft.fftn(_bump(shape, device))).real
    return gain.clamp(min=max(1e-3 * float(gain.mean()), torch.finfo(gain.dtype).tiny))


def _bump(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """A Gaussian around index 0 (periodic), of sum one and standard deviation SMOOTHING."""
    bump = torch.ones((), device=device)
    for n in shape:
        distance = torch.fft.fftfreq(n, 1 / n).to(device)
        bump = bump[..., None] * torch.exp(-0.5 * (distance / SMOOTHING) ** 2)
    return bump / bump.sum()
