"""Coil maps from the data themselves: ESPIRiT from a calibration region, Walsh's from coil images.

Maps are known up to one complex factor per voxel, the same for all coils, that the image takes over. Its size is set
here so that the root sum of squares is 1. Its phase is set so that one fixed combination of the coils, the first
principal component of the calibration data, sees every voxel with phase 0: smooth wherever that combination sees
anything, whereas the phase of an eigenvector is anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scoreinv.operators.coils import check_alive, check_channels

_SLAB = 1 << 24  # entries of coil x coil matrices held at a time, 128 MiB in complex64


def espirit(
    k_space: Tensor,
    *,
    calibration: int | Sequence[int] | None = 24,
    kernel: int = 6,
    threshold: float = 0.02,
    crop: float = 0.95,
) -> Tensor:
    """Coil maps by ESPIRiT, from the fully sampled middle of Cartesian k-space.

    Every patch of kernel^d samples of all coils lies in a subspace of few dimensions, found from the calibration region
    as the row space of its patches (eq. 9). To project all patches of a k-space on it and average is a convolution
    (eq. 13, 14), in the image a matrix G(r) of coils x coils at every voxel r. True k-space stays as it is, so that the
    coil maps at r are the eigenvector of G(r) to the eigenvalue 1 (eq. 16, 19).

    Patches are taken wherever all their samples were measured, so that the region may be of any outline. Images of
    three axes are treated as such, not slice by slice: no axis need be fully sampled, the sharing of a kernel along z
    lowers the noise, and the phase has no jumps from slice to slice. G is evaluated slab by slab, in bounded memory.
    The subspace takes an eigendecomposition of size coils * kernel^d: in 3D, compress to about 8 coils first
    (`coil_compression`), or take a smaller kernel.

    Args:
        k_space: (coils, *image), complex, centred (DC at n//2), *image of two or three axes; 0 where not sampled.
        calibration: sides of the box in the middle of k-space from which patches are taken, in samples; one number
            serves all axes, None takes what is fully sampled along every axis through the middle.
        kernel: side of a patch, in samples.
        threshold: singular values of the patches below this share of the largest are noise.
        crop: voxels with an eigenvalue below this get maps of zero: nothing but noise is there, or the object
            extends beyond the image and folds.

    Returns:
        Maps (coils, *image), dtype and device of k_space. Their root sum of squares is 1, or 0 in cropped voxels; for
        their phase see the top of this module.

    Raises:
        TypeError: if k-space is not complex.
        ValueError: for NaN or Inf, coils without any signal, too few fully sampled patches, or an option out of its
            range.

    Uecker et al. 2014, Magn. Reson. Med. 71:990.
    """
    check_channels("espirit", k_space, "k_space")
    shape = tuple(k_space.shape[1:])
    if len(shape) not in (2, 3):
        raise ValueError(f"espirit: k_space has shape {tuple(k_space.shape)}, expected (coils, [z,] y, x)")
    if kernel < 2 or not 0 < threshold < 1 or not 0 <= crop < 1:
        raise ValueError(
            f"espirit: kernel {kernel}, threshold {threshold}, crop {crop}; expected kernel >= 2, 0 < threshold < 1, "
            "0 <= crop < 1"
        )
    check_alive("espirit", k_space, "k_space")
    center = _center(k_space, calibration, kernel)
    filters = _projection_filters(center, kernel, threshold)
    combination = _principal_component(center)
    waves = [_waves(n, kernel, filters) for n in shape]
    maps = torch.empty_like(k_space)
    for part in _slabs(shape, k_space.shape[0]):
        G = _spread(filters, [waves[0][part], *waves[1:]])
        values, vectors = torch.linalg.eigh(G)
        kept = torch.where((values[..., -1] >= crop)[..., None], vectors[..., -1], 0)
        maps[:, part] = _referenced(kept, combination).movedim(-1, 0)
    return maps


def walsh(coil_images: Tensor, *, window: int = 7) -> Tensor:
    """Coil maps from coil images, by their covariance in a window around each voxel: cheap, and made of the object.

    The maps are the eigenvector to the largest eigenvalue of sum_window I I^H (eq. 10, with white noise): the coils'
    common factor where the object is constant in the window. Where there is no object they are noise, and the ringing
    of images of low resolution shows in them: apodise the middle of k-space first.

    Args:
        coil_images: (coils, *image), complex, *image of two or three axes: fully sampled, or of low resolution from
            the middle of k-space.
        window: side of the window in voxels, odd.

    Returns:
        Maps (coils, *image), dtype and device of coil_images. Their root sum of squares is 1, or 0 where a window is
        empty; for their phase see the top of this module.

    Raises:
        TypeError: if the images are not complex.
        ValueError: for NaN or Inf, coils without any signal, or a window that is even.

    Walsh, Gmitro and Marcellin 2000, Magn. Reson. Med. 43:682.
    """
    check_channels("walsh", coil_images, "coil_images")
    shape = tuple(coil_images.shape[1:])
    if len(shape) not in (2, 3) or window < 1 or window % 2 == 0:
        raise ValueError(
            f"walsh: coil_images of shape {tuple(coil_images.shape)}, window {window}; expected (coils, [z,] y, x) and "
            "an odd window >= 1"
        )
    check_alive("walsh", coil_images, "coil_images")
    combination = _principal_component(coil_images)
    reach = window // 2
    maps = torch.empty_like(coil_images)
    for part in _slabs(shape, coil_images.shape[0], reach):
        first = max(part.start - reach, 0)
        around = coil_images[:, first : part.stop + reach]
        covariance = around[:, None] * around[None].conj()
        for axis in range(2, covariance.ndim):
            covariance = _window_sums(covariance, axis, reach)
        covariance = covariance[:, :, part.start - first : part.stop - first].movedim((0, 1), (-2, -1))
        values, vectors = torch.linalg.eigh(covariance)
        kept = torch.where((values[..., -1] > 0)[..., None], vectors[..., -1], 0)
        maps[:, part] = _referenced(kept, combination).movedim(-1, 0)
    return maps


def _center(k_space: Tensor, calibration: int | Sequence[int] | None, kernel: int) -> Tensor:
    """The box of k-space to calibrate with, (coils, *box)."""
    shape = k_space.shape[1:]
    sampled = (k_space != 0).any(0)
    runs = [_run(sampled, axis) for axis in range(len(shape))]
    if calibration is None:
        # A run can be longer on one side of the middle than on the other, by one sample in fully sampled k-space.
        box = [slice(*run) for run in runs]
    else:
        sides = [calibration] * len(shape) if isinstance(calibration, int) else list(calibration)
        if len(sides) != len(shape) or min(sides) < kernel:
            raise ValueError(
                f"espirit: calibration {calibration} of a k-space {tuple(shape)}, expected one number or {len(shape)}, "
                f"at least the kernel's {kernel}"
            )
        box = [
            slice(max(n // 2 - side // 2, 0), n // 2 - side // 2 + side) for n, side in zip(shape, sides, strict=True)
        ]
    center, mask = k_space[(slice(None), *box)], sampled[tuple(box)]
    count = 0 if min(mask.shape) < kernel else int(_whole(mask, kernel).sum())
    if count < kernel ** len(shape):
        found = " x ".join(str(stop - start) for start, stop in runs)
        raise ValueError(
            f"espirit: {count} fully sampled patches of side {kernel} in a calibration region of "
            f"{' x '.join(map(str, mask.shape))}, expected at least {kernel ** len(shape)}; k-space is fully sampled "
            f"along {found} samples through its middle; acquire more there, or take a smaller kernel or walsh"
        )
    return center


def _run(sampled: Tensor, axis: int) -> tuple[int, int]:
    """First and one past the last of the unbroken samples along an axis through the middle of k-space."""
    middle = [n // 2 for n in sampled.shape]
    line = sampled[tuple(slice(None) if a == axis else m for a, m in enumerate(middle))].tolist()
    start = stop = middle[axis]
    while stop < len(line) and line[stop]:
        stop += 1
    while start > 0 and line[start - 1] and stop > start:
        start -= 1
    return start, stop


def _patches(data: Tensor, kernel: int) -> Tensor:
    """Every patch of (coils, *box), (*positions, coils, kernel, ...): a view."""
    ndim = data.ndim - 1
    for axis in range(1, ndim + 1):
        data = data.unfold(axis, kernel, 1)
    return data.movedim(0, ndim)


def _whole(sampled: Tensor, kernel: int) -> Tensor:
    """Whether all samples of a patch were measured, (*positions), from which samples were, (*box)."""
    return _patches(sampled[None], kernel).flatten(-sampled.ndim - 1).all(-1)


def _projection_filters(center: Tensor, kernel: int, threshold: float) -> Tensor:
    """The averaged projection on the row space of the patches as filters h, (coils, coils, *shifts).

    Sample m of coil c becomes the sum of h_cc'(d) k_c'(m - d), with shifts d from -(kernel - 1) to kernel - 1 along
    each axis.
    """
    coils, ndim = center.shape[0], center.ndim - 1
    size = coils * kernel**ndim
    sampled = _whole((center != 0).any(0), kernel)
    gram = center.new_zeros(size, size)
    # One row of patches after another: all at once would be kernel^d copies of the region.
    for patches, whole in zip(_patches(center, kernel), sampled, strict=True):
        rows = patches[whole].flatten(1)
        gram += rows.T @ rows.conj()
    values, vectors = torch.linalg.eigh(gram)
    subspace = vectors[:, values > threshold**2 * values[-1]].T.reshape(-1, coils, *[kernel] * ndim)
    # G(r) = sum_j v_j(r) v_j(r)^H / kernel^d with v_j(r) the transform of basis vector j, sampled just densely enough:
    # products of kernels of this length have 2 kernel - 1 shifts.
    axes = tuple(range(-ndim, 0))
    spectra = torch.fft.ifftn(subspace, s=[2 * kernel - 1] * ndim, dim=axes, norm="forward").flatten(2)
    coarse = torch.einsum("jcf,jdf->cdf", spectra, spectra.conj()) / kernel**ndim
    filters = torch.fft.fftn(coarse.unflatten(-1, [2 * kernel - 1] * ndim), dim=axes, norm="forward")
    return torch.fft.fftshift(filters, dim=axes)


def _waves(n: int, kernel: int, like: Tensor) -> Tensor:
    """exp(2 pi i d r / n), (n, shifts d), for voxels r counted from n//2."""
    r = torch.arange(n, dtype=torch.float64, device=like.device) - n // 2
    d = torch.arange(1 - kernel, kernel, dtype=torch.float64, device=like.device)
    return torch.exp(2j * math.pi / n * r[:, None] * d).to(like.dtype)


def _spread(filters: Tensor, waves: Sequence[Tensor]) -> Tensor:
    """G at the voxels of the waves, (*voxels, coils, coils), from its filters (coils, coils, *shifts)."""
    G = filters
    for wave in waves:  # each turns the first axis of shifts into a last one of voxels
        G = torch.tensordot(G, wave, dims=([2], [1]))
    return G.movedim((0, 1), (-2, -1))


def _principal_component(data: Tensor) -> Tensor:
    """The combination of coils of largest energy, (coils,)."""
    flat = data.flatten(1)
    return torch.linalg.eigh(flat @ flat.mH)[1][:, -1]


def _referenced(vectors: Tensor, combination: Tensor) -> Tensor:
    """Vectors (..., coils) turned so that the combination sees them with phase 0."""
    seen = vectors @ combination.conj()
    return vectors * torch.exp(-1j * seen.angle())[..., None]


def _window_sums(data: Tensor, axis: int, reach: int) -> Tensor:
    """Sums over 2 reach + 1 neighbours along an axis; zero outside."""
    total = data.clone()
    for shift in range(1, min(reach, data.shape[axis] - 1) + 1):
        n = data.shape[axis] - shift
        total.narrow(axis, 0, n).add_(data.narrow(axis, shift, n))
        total.narrow(axis, shift, n).add_(data.narrow(axis, 0, n))
    return total


def _slabs(shape: Sequence[int], coils: int, halo: int = 0) -> Iterator[slice]:
    """Parts of the first axis whose matrices fit in memory, with a halo on either side."""
    planes = max(_SLAB // (coils**2 * math.prod(shape[1:])) - 2 * halo, 1)
    for start in range(0, shape[0], planes):
        yield slice(start, min(start + planes, shape[0]))
