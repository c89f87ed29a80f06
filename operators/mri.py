"""Parallel MRI: the Fourier samples that every coil receives of one magnetisation image.

Image index n // 2 is the origin of space on every axis, and k-space is scaled by 1 / sqrt(number of voxels), so that
fully sampled data have the image's norm and operators of different samplings compare without further factors.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from scoreinv.operators import _nufft
from scoreinv.operators._response import mean_response
from scoreinv.operators._toeplitz import Toeplitz
from scoreinv.operators.coils import rss
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import Map

log = logging.getLogger("scoreinv")

CHUNK = 2**21  # complex numbers of coil images at a time; malloc asks for fresh pages, slowly, beyond 32 MiB
_LEAST_RESPONSE = 0.5  # of the mean over frequencies, when A^H A is approximated


class _MRI(LinearOperator):
    """What both samplings share: an image complex64 and the coils that see it.

    Attributes:
        coil_maps: (coils, *image) complex64, or None for one coil that sees everything alike.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        coil_maps: Tensor | None,
        samples: tuple[int, ...],
        device: torch.device,
    ) -> None:
        name = type(self).__name__
        if coil_maps is not None:
            _check_coils(name, coil_maps, image_shape, device)
        self.coil_maps = coil_maps
        coils = 1 if coil_maps is None else len(coil_maps)
        super().__init__(image_shape, (coils, *samples), torch.complex64, torch.complex64, device)

    def inverse_near(self, strength: Tensor, damping: Tensor) -> Map:
        """(1 - S^2) / damping + S F^H (damping + strength c)^-1 F S with the discrete Fourier transform F.

        Where coils see, S = 1 for normalised maps, A^H A is nearly a convolution; elsewhere it is nothing.
        """
        axes = tuple(range(-len(self.in_shape), 0))
        seen, response = self._response
        spectrum = 1 / (damping + strength * response)
        unseen = (1 - seen.square()) / damping

        def inverse(v: Tensor) -> Tensor:
            within = torch.fft.ifftn(spectrum * torch.fft.fftn(seen * v, dim=axes), dim=axes)
            return unseen * v + seen * within

        return inverse

    @cached_property
    def _response(self) -> tuple[Tensor, Tensor]:
        """How much coils see of each place, at most 1, and of each frequency there, c; (*image) both."""
        kernel = self._point_spread()
        maps = self.coil_maps
        if maps is None:
            maps = torch.ones((1, *self.in_shape), dtype=self.in_dtype, device=kernel.device)
        seen = rss(maps)
        seen = seen / seen.max()
        response = mean_response(kernel, maps) / seen.square().mean()
        # Frequencies between the samples are known through their neighbours: taken for unseen, they would be overrated.
        return seen, response.clamp(min=_LEAST_RESPONSE * float(response.mean()))

    @abstractmethod
    def _point_spread(self) -> Tensor:
        """K with A^H A = sum over coils of conj(S_c) K S_c, (*2 image) complex128, offset 0 first."""

    def _hint(self, what: str, shape: tuple[int, ...]) -> str:
        axes = "z, y, x" if len(self.in_shape) == 3 else "y, x"
        return f"; axes are ({axes})" if what == "image" else f"; axes are ({self._axes_of_measurements(axes)})"

    def _axes_of_measurements(self, axes: str) -> str:
        return f"coils, {axes}"


class CartesianMRI(_MRI):
    """Cartesian MRI: image (z, y, x) or (y, x) complex64 -> k-space (coils, *image) complex64, zero where not sampled.

    y_c = M F S_c x with sensitivities S_c, the centred, orthonormal discrete Fourier transform F (frequency 0 at index
    n // 2) and the mask M [Pruessmann et al. 1999, MRM 42:952-962].

    Args:
        mask: (*image), which samples are measured: truth values, or weights from 0 to 1.
        coil_maps: (coils, *image) complex64, sensitivities on the mask's device; None for one coil of ones. Voxels
            where all are 0 are not seen: the adjoint leaves them 0, and a prior fills them by itself.

    Raises:
        ValueError: if the mask is not 2D or 3D, not within [0, 1], or samples nothing; if the coil maps are of another
            size or device, not finite, or zero everywhere.
        TypeError: if the coil maps are not a complex64 tensor.
    """

    def __init__(self, mask: ArrayLike | Tensor, coil_maps: Tensor | None = None) -> None:
        self.mask = torch.as_tensor(mask)
        _check_mask(self.mask)
        super().__init__(tuple(self.mask.shape), coil_maps, tuple(self.mask.shape), self.mask.device)
        self._image_axes = tuple(range(-self.mask.ndim, 0))

    def _moved(self, device: torch.device) -> CartesianMRI:
        return CartesianMRI(self.mask.to(device), None if self.coil_maps is None else self.coil_maps.to(device))

    # Frequency 0 comes first in torch.fft. The image, the maps and the mask are rolled, rather than each coil's data.

    @cached_property
    def _rolled_mask(self) -> Tensor:
        return torch.fft.ifftshift(self.mask.float(), self._image_axes)

    @cached_property
    def _rolled_maps(self) -> Tensor:
        ones = torch.ones((1, *self.in_shape), dtype=self.in_dtype, device=self.mask.device)
        return torch.fft.ifftshift(ones if self.coil_maps is None else self.coil_maps, self._image_axes)

    @cached_property
    def _mixing_axes(self) -> tuple[int, ...]:
        """Axes along which the mask varies. Along the others A^H A is the identity, and needs no transform."""
        axes = self._image_axes
        return tuple(k for k in axes if not torch.equal(self.mask, self.mask.narrow(k, 0, 1).expand_as(self.mask)))

    def _point_spread(self) -> Tensor:
        weights = self._rolled_mask.to(torch.complex128).square()
        return torch.fft.ifftn(weights).tile((2,) * weights.ndim)  # it is periodic over the image

    def _apply(self, x: Tensor) -> Tensor:
        coils = self._rolled_maps * torch.fft.ifftshift(x, self._image_axes).unsqueeze(-self.mask.ndim - 1)
        k_space = torch.fft.fftn(coils, dim=self._image_axes, norm="ortho") * self._rolled_mask
        return torch.fft.fftshift(k_space, self._image_axes)

    def _adjoint(self, y: Tensor) -> Tensor:
        k_space = torch.fft.ifftshift(y, self._image_axes) * self._rolled_mask
        coils = torch.fft.ifftn(k_space, dim=self._image_axes, norm="ortho")
        return torch.fft.fftshift((self._rolled_maps.conj() * coils).sum(-self.mask.ndim - 1), self._image_axes)

    def _normal(self, x: Tensor) -> Tensor:
        image = torch.fft.ifftshift(x, self._image_axes).unsqueeze(-self.mask.ndim - 1)
        weights = self._rolled_mask.square()
        result = torch.zeros_like(image)
        for maps in self._rolled_maps.split(max(1, CHUNK // max(1, x.numel()))):
            k_space = torch.fft.fftn(maps * image, dim=self._mixing_axes) if self._mixing_axes else maps * image
            k_space = k_space * weights
            coils = torch.fft.ifftn(k_space, dim=self._mixing_axes) if self._mixing_axes else k_space
            result += (maps.conj() * coils).sum(-self.mask.ndim - 1, keepdim=True)
        return torch.fft.fftshift(result.squeeze(-self.mask.ndim - 1), self._image_axes)


class NonCartesianMRI(_MRI):
    """Non-Cartesian MRI: image (z, y, x) or (y, x) complex64 -> samples (coils, shots, samples) complex64.

    y_c(k) = N^(-1/2) sum over r of S_c(r) x(r) exp(-i k . (r - n // 2)) for N voxels with sensitivities S_c
    [Pruessmann et al. 2001, MRM 46:638-651]. Radial, spiral, stack of stars and the rest differ in their
    trajectory alone. `normal` is a convolution and needs no such sum; its kernel is computed on first use.

    Args:
        trajectory: (shots, samples, d), rad per voxel within [-pi, pi], float32 or float64, in the order of the image's
            axes: (y, x) or (z, y, x).
        image_shape: (*image).
        coil_maps: (coils, *image) complex64, sensitivities on the trajectory's device; None for one coil of ones.
            Voxels where all are 0 are not seen, as for `CartesianMRI`.
        backend: what computes the sums where the trajectory is: "finufft" (CPU, error 1e-6), "cufinufft" (NVIDIA GPU,
            error about 1e-5), "torchkbnufft" (any device, error about 2e-5), or "auto", the first of these that runs
            there and is installed.

    Raises:
        ImportError: for backend "cufinufft" where it is not installed.
        ValueError: if the trajectory is of another shape, not finite or not within [-pi, pi]; if the coil maps are of
            another size or device, not finite, or zero everywhere; for an unknown backend, or one that does not run on
            the trajectory's device.
        TypeError: if the trajectory is not real floating-point, or the coil maps are not a complex64 tensor.
    """

    def __init__(
        self,
        trajectory: ArrayLike | Tensor,
        image_shape: Sequence[int],
        coil_maps: Tensor | None = None,
        backend: str = "auto",
    ) -> None:
        self.trajectory = torch.as_tensor(trajectory)
        shape = tuple(int(n) for n in image_shape)
        _check_trajectory(self.trajectory, shape)
        super().__init__(shape, coil_maps, tuple(self.trajectory.shape[:2]), self.trajectory.device)
        self.backend = backend
        self._scale = 1 / math.sqrt(math.prod(shape))
        self._nufft = _nufft.engine(backend, self.trajectory.flatten(0, 1), shape)

    def _moved(self, device: torch.device) -> NonCartesianMRI:
        maps = None if self.coil_maps is None else self.coil_maps.to(device)
        return NonCartesianMRI(self.trajectory.to(device), self.in_shape, maps, self.backend)

    def subset(self, i: int, n: int) -> NonCartesianMRI:
        """The operator of shots i, i + n, i + 2n, ..."""
        shots = len(self.trajectory)
        if not 0 <= i < n <= shots:
            raise ValueError(f"NonCartesianMRI: subset {i} of {n}; expected 0 <= i < n <= {shots} shots")
        return NonCartesianMRI(self.trajectory[i::n], self.in_shape, self.coil_maps, self.backend)

    @cached_property
    def _toeplitz(self) -> Toeplitz:
        return Toeplitz(self.trajectory.flatten(0, 1), self.in_shape, self._scale**2, self.trajectory.device)

    def _point_spread(self) -> Tensor:
        doubled = tuple(2 * n for n in self.in_shape)
        kernel = torch.from_numpy(_nufft.point_spread(self.trajectory.flatten(0, 1), doubled))
        return torch.fft.ifftshift(self._scale**2 * kernel).to(self.trajectory.device)

    def _coil_chunks(self, items: int) -> list[slice]:
        coils, most = self.out_shape[0], max(math.prod(self.in_shape), math.prod(self.out_shape[1:]))
        step = max(1, CHUNK // (items * most))
        return [slice(first, min(first + step, coils)) for first in range(0, coils, step)]

    def _apply(self, x: Tensor) -> Tensor:
        images = self._scale * x.reshape(-1, 1, *self.in_shape)
        y = x.new_empty(len(images), self.out_shape[0], math.prod(self.out_shape[1:]))
        for coils in self._coil_chunks(len(images)):
            seen = images if self.coil_maps is None else images * self.coil_maps[coils]
            y[:, coils] = self._nufft.forward(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        return y.reshape(*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        data = y.reshape(-1, self.out_shape[0], math.prod(self.out_shape[1:]))
        x = y.new_zeros(len(data), *self.in_shape)
        for coils in self._coil_chunks(len(data)):
            some = data[:, coils]
            images = self._nufft.adjoint(some.flatten(0, 1)).unflatten(0, some.shape[:2])
            x += images[:, 0] if self.coil_maps is None else (self.coil_maps[coils].conj() * images).sum(1)
        return (self._scale * x).reshape(*y.shape[:-3], *self.in_shape)

    def _normal(self, x: Tensor) -> Tensor:
        return self._toeplitz.apply(x.reshape(-1, *self.in_shape), self.coil_maps, CHUNK).reshape(x.shape)

    def _axes_of_measurements(self, axes: str) -> str:
        return "coils, shots, samples"


def _check_trajectory(trajectory: Tensor, image_shape: tuple[int, ...]) -> None:
    axes = {2: "(y, x)", 3: "(z, y, x)"}.get(len(image_shape))
    if axes is None or min(image_shape) < 1:
        raise ValueError(f"NonCartesianMRI: image_shape is {image_shape}, expected (y, x) or (z, y, x)")
    shape = tuple(trajectory.shape)
    if trajectory.ndim != 3 or shape[-1] != len(image_shape) or not trajectory.numel():
        raise ValueError(
            f"NonCartesianMRI: trajectory has shape {shape}, expected (shots, samples, {len(image_shape)}) for images "
            f"of shape {image_shape}; its last axis holds {axes} in rad per voxel"
        )
    if trajectory.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"NonCartesianMRI: trajectory is {trajectory.dtype}, expected torch.float32 or torch.float64")
    if not bool(torch.isfinite(trajectory).all()):
        raise ValueError("NonCartesianMRI: trajectory holds NaN or Inf; expected rad per voxel")
    furthest = float(trajectory.abs().max())
    if furthest > math.pi * (1 + 1e-5):  # the float32 next to pi lies beyond it
        raise ValueError(
            f"NonCartesianMRI: trajectory goes up to {furthest:.6g}, expected rad per voxel within [-pi, pi]; multiply "
            "cycles per field of view by 2 pi / n, and 1/m by 2 pi times the voxel size in m"
        )
    if furthest <= 0.5:
        log.warning(
            "NonCartesianMRI: trajectory goes up to %.3g, a sixth of the way to pi and less; expected rad per voxel, "
            "multiply cycles per voxel by 2 pi",
            furthest,
        )


def _check_mask(mask: Tensor) -> None:
    if mask.ndim not in (2, 3):
        raise ValueError(f"CartesianMRI: mask has shape {tuple(mask.shape)}, expected (y, x) or (z, y, x)")
    if mask.is_complex() or not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError("CartesianMRI: mask must hold truth values, or weights from 0 to 1; pass `mask > 0`")
    if not mask.any():
        raise ValueError("CartesianMRI: mask samples no point; expected at least one value that is not 0")


def _check_coils(name: str, coil_maps: Tensor, image_shape: tuple[int, ...], device: torch.device) -> None:
    if not isinstance(coil_maps, Tensor) or coil_maps.dtype != torch.complex64:
        kind = coil_maps.dtype if isinstance(coil_maps, Tensor) else type(coil_maps).__name__
        raise TypeError(f"{name}: coil_maps are {kind}, expected a tensor of torch.complex64; convert them")
    if coil_maps.ndim != len(image_shape) + 1 or tuple(coil_maps.shape[1:]) != image_shape or not len(coil_maps):
        raise ValueError(
            f"{name}: coil_maps have shape {tuple(coil_maps.shape)}, expected (coils, "
            f"{', '.join(map(str, image_shape))}) for this image; resample the maps, or unsqueeze one coil's"
        )
    if coil_maps.device != device:
        raise ValueError(
            f"{name}: coil_maps are on {coil_maps.device}, expected {device}; move them with .to('{device}')"
        )
    if not bool(torch.isfinite(torch.view_as_real(coil_maps)).all()):
        raise ValueError(f"{name}: coil_maps hold NaN or Inf; expected sensitivities, 0 where unknown")
    if not coil_maps.any():
        raise ValueError(f"{name}: coil_maps are zero everywhere; expected sensitivities, or None for one coil of ones")
