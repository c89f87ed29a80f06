"""What is done to the channels of a coil array: noise made white, channels made fewer, coils made up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_PER_RING = 8  # simulated coils around the patient before a second ring is begun
_DISTANCE = 1.3  # of simulated coils from the axis, in half diagonals of the image's last two axes


def rss(coil_images: Tensor) -> Tensor:
    """Root of the sum of squares over the coils, (coils, *image) -> (*image), real.

    Coil maps divided by theirs have one of 1, and leave an image in the scale that the array sees it in.
    Roemer et al. 1990, Magn. Reson. Med. 16:192, eq. 27.
    """
    return torch.linalg.vector_norm(coil_images, dim=0)


def coil_compression(k_space: Tensor, coils: int) -> tuple[Tensor, Tensor]:
    """Fewer virtual coils that keep most of the energy: the first principal components of the channels.

    The rows of the matrix are orthonormal, so that white noise stays white; `prewhiten` first. Coil maps of the
    channels become maps of the virtual coils by the same matrix: `torch.tensordot(matrix, coil_maps, 1)`.

    Args:
        k_space: (channels, ...), complex; any layout, as every sample is mixed alike.
        coils: number of virtual coils, at most that of channels.

    Returns:
        Compressed k-space (coils, ...) and the matrix (coils, channels) that compressed it.

    Raises:
        TypeError: if k-space is not complex.
        ValueError: for NaN, Inf or no samples, or more coils than channels.

    Buehrer et al. 2007, Magn. Reson. Med. 57:1131; Huang et al. 2008, Magn. Reson. Imaging 26:133.
    """
    check_channels("coil_compression", k_space, "k_space")
    channels = k_space.shape[0]
    if not 1 <= coils <= channels:
        raise ValueError(f"coil_compression: {coils} virtual coils of {channels} channels, expected 1 to {channels}")
    _, vectors = torch.linalg.eigh(_covariance(k_space))
    matrix = vectors[:, -coils:].flip(-1).mH.to(k_space.dtype)
    return torch.tensordot(matrix, k_space, 1), matrix


def prewhiten(k_space: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Virtual channels whose noise is white, with standard deviation 1 per real component: `Gaussian(1)`.

    With noise covariance L L^H, the channels are mixed by L^-1. Coil maps go along by the same matrix:
    `torch.tensordot(matrix, coil_maps, 1)`; maps estimated afterwards from the whitened k-space need nothing.

    Args:
        k_space: (channels, ...), complex, any layout and unit.
        noise: (channels, samples), complex, measured without a signal and with the k-space's bandwidth, in its unit.

    Returns:
        Whitened k-space (channels, ...), in units of the noise, and the matrix L^-1 (channels, channels).

    Raises:
        TypeError: if either is not complex.
        ValueError: for NaN or Inf, other channels, fewer noise samples than channels, or channels without noise of
            their own.

    Pruessmann et al. 2001, Magn. Reson. Med. 46:638, appendix A.
    """
    check_channels("prewhiten", k_space, "k_space")
    check_channels("prewhiten", noise, "noise")
    channels = k_space.shape[0]
    if noise.ndim != 2 or noise.shape[0] != channels:
        raise ValueError(f"prewhiten: noise has shape {tuple(noise.shape)}, expected ({channels}, samples) as k_space")
    if noise.shape[1] < channels:
        raise ValueError(
            f"prewhiten: {noise.shape[1]} noise samples of {channels} channels, expected at least {channels}, better "
            "a thousand; their covariance cannot be inverted"
        )
    covariance = _covariance(noise) / (2 * noise.shape[1])  # of one real component
    scale = covariance.diagonal().real.sqrt()
    if not bool((scale > 0).all()):
        raise ValueError(f"prewhiten: noise of channel {_indices(scale == 0)} is zero; leave out dead channels")
    root, failed = torch.linalg.cholesky_ex(covariance / (scale[:, None] * scale))
    if int(failed) or float(root.diagonal().real.min()) < 1e-6:
        raise ValueError("prewhiten: noise of one channel is a mixture of the others'; leave out repeated channels")
    matrix = torch.linalg.inv(scale[:, None] * root).to(k_space.dtype)
    return torch.tensordot(matrix, k_space, 1), matrix


def simulated_coils(count: int, image_shape: Sequence[int]) -> Tensor:
    """Smooth maps of coils on a cylinder around the image, with a root sum of squares of 1.

    Each coil is a small loop that faces the axis z, seen as a magnetic dipole m: by Biot and Savart its field at a
    distance r is (3 (m r) r - m |r|^2) / |r|^5, and it receives B_x - i B_y. Up to 8 coils make one ring around the
    middle slice; more make several rings along z.

    Args:
        count: number of coils.
        image_shape: (z, y, x), or (y, x) for the middle slice; voxels taken for cubes.

    Returns:
        (count, *image_shape), complex64; the same ones for the same arguments.

    Raises:
        ValueError: for an image that has neither two axes nor three, or without a coil.

    Roemer et al. 1990, Magn. Reson. Med. 16:192, appendix.
    """
    shape = (1, *image_shape) if len(image_shape) == 2 else tuple(image_shape)
    if len(shape) != 3 or min(shape) < 1 or count < 1:
        raise ValueError(
            f"simulated_coils: {count} coils over {tuple(image_shape)}, expected at least one over (z, y, x) or (y, x)"
        )
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) - n // 2 for n in shape), indexing="ij")
    radius = _DISTANCE * math.hypot(*shape[1:]) / 2
    rings = -(-count // _PER_RING)
    maps = []
    for i in range(count):
        ring, place = i % rings, i // rings
        # Rings are turned against each other, so that no two coils see the same.
        angle = 2 * math.pi * (place + ring / rings) / len(range(ring, count, rings))
        height = (ring - (rings - 1) / 2) * max(shape[0] / rings, radius / 2)
        my, mx = math.sin(angle), math.cos(angle)
        dz, dy, dx = z - height, y - radius * my, x - radius * mx
        along, squared = my * dy + mx * dx, dz**2 + dy**2 + dx**2
        field = torch.complex(3 * along * dx - mx * squared, my * squared - 3 * along * dy)
        maps.append(field / squared**2.5)
    coils = torch.stack(maps)
    return (coils / rss(coils)).reshape(count, *image_shape)


def check_channels(name: str, data: Tensor, what: str) -> None:
    """Raise TypeError or ValueError, in the name of a function, unless data are finite complex (channels, ...)."""
    if not isinstance(data, Tensor) or not data.is_complex():
        got = str(data.dtype) if isinstance(data, Tensor) else type(data).__name__
        raise TypeError(f"{name}: {what} is {got}, expected a complex tensor; convert with .to(torch.complex64)")
    if data.ndim < 2 or data.numel() == 0:
        raise ValueError(f"{name}: {what} has shape {tuple(data.shape)}, expected (channels, ...) with samples")
    bad = int((~torch.isfinite(data)).sum())
    if bad:
        raise ValueError(f"{name}: {what} holds {bad} NaN or Inf of {data.numel()} values, expected finite data")


def check_alive(name: str, data: Tensor, what: str) -> None:
    """Raise ValueError, in the name of a function, if a channel of (channels, ...) is zero throughout."""
    dead = (data == 0).flatten(1).all(1)
    if bool(dead.any()):
        raise ValueError(f"{name}: {what} of coil {_indices(dead)} is all zero; leave out dead coils")


def _covariance(data: Tensor) -> Tensor:
    """sum d d^H over the samples of (channels, ...), (channels, channels) in double precision."""
    flat = data.flatten(1).to(torch.complex128)
    return flat @ flat.mH


def _indices(which: Tensor) -> str:
    return ", ".join(str(i) for i in which.nonzero().flatten().tolist())
