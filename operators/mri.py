"""Parallel MRI: the Fourier samples that every coil receives of one magnetisation image.

Image index n // 2 is the origin of space on every axis, and k-space is scaled by 1 / sqrt(number of voxels), so that
fully sampled data have the image's norm and operators of different samplings compare without further factors.
"""

from __future__ import annotations

from functools import cached_property

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from scoreinv.operators.linear import LinearOperator

CHUNK = 2**24  # complex numbers that the normal map works on at a time


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

    def _hint(self, what: str, shape: tuple[int, ...]) -> str:
        axes = "z, y, x" if len(self.in_shape) == 3 else "y, x"
        return f"; axes are ({axes})" if what == "image" else f"; axes are ({self._axes_of_measurements(axes)})"

    def _axes_of_measurements(self, axes: str) -> str:
        return f"coils, {axes}"


class CartesianMRI(_MRI):
    """Cartesian MRI: image (z, y, x) or (y, x) complex64 -> k-space (coils, *image) complex64, zero where not sampled.

    y_c = M F S_c x with sensitivities S_c, the centred, orthonormal discrete Fourier transform F (frequency 0 at index
    n // 2) and the mask M [Pruessmann et al. 1999, MRM 42:952-962, eq. 3].

    Args:
        mask: (*image), which samples are measured: truth values, or weights from 0 to 1.
        coil_maps: (coils, *image) complex64, sensitivities on the mask's device; None for one coil of ones.

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
