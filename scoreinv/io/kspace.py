"""What an MR scanner measured of one image, whatever file it came from.

The k-space of a slice, a volume or a time frame is one `KSpace`; a reader gives a list of them, one for every
combination of slice, contrast, phase, repetition and set that the file holds. So frames with their own masks or
trajectories become one operator each (`Stack`), slices are reconstructed one by one and set together by
`place_slices`, and a volume is a list of length one.

Arrays stay in the scanner's own order, (slice, phase, readout), because k-space cannot be turned to the patient
without interpolation for every oblique scan; `KSpace.place` turns the reconstruction instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.io.images import Image, upright

# Slices further apart or closer than this fraction of their spacing are not one volume.
_UNEVEN = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class KSpace:
    """Measurements of one image, Cartesian (with `mask`) or not (with `trajectory`), and where the image lies.

    `CartesianMRI(k.mask, maps)` or `NonCartesianMRI(k.trajectory, k.image_shape, maps)` is the operator of `k.data`.

    Args:
        data: Cartesian: (coils, *image) complex64, frequency 0 at index n // 2 of every axis, orthonormal, zero where
            not sampled. Non-Cartesian: (coils, shots, samples) complex64.
        mask: (*image) bool, which samples were measured.
        trajectory: (shots, samples, d) float32, rad per voxel in [-pi, pi], in (z, y, x) or (y, x) order.
        image_shape: (z, y, x) or (y, x) of the image to reconstruct; a mask says it already.
        recon_shape: the part in the middle that the scanner shows (`crop`); without phase oversampling the same.
        voxel_size: edge lengths (z, y, x), mm, z being the thickness of a single slice; None if the file has none.
        noise: (coils, samples) complex64, measured without signal, as strong as in one sample of `data`; None if there
            is none.
        calibration: (coils, *image) complex64 on the grid of `data`, of the lines meant for calibration; None if there
            are none apart.
        reference: (*recon_shape) float32, the image that the file gives as reconstruction, or None.
        center: world position (S, P, L) of the middle of voxel n // 2, mm; None if unknown.
        direction: (3, 3), column k the unit vector in world (S, P, L) along axis k of (z, y, x); None if unknown.
        index: counters of the image in its file, such as {"slice": 3, "repetition": 0}.

    Raises:
        TypeError: for another dtype.
        ValueError: unless there is one of mask and trajectory, if shapes disagree, or for NaN and Inf.
    """

    data: Tensor
    mask: Tensor | None = None
    trajectory: Tensor | None = None
    image_shape: tuple[int, ...] = ()
    recon_shape: tuple[int, ...] = ()
    voxel_size: tuple[float, float, float] | None = None
    noise: Tensor | None = None
    calibration: Tensor | None = None
    reference: Tensor | None = None
    center: tuple[float, float, float] | None = None
    direction: NDArray[np.float64] | None = None
    index: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.trajectory is None):
            raise ValueError("KSpace: expected one of mask (Cartesian) and trajectory (non-Cartesian)")
        if self.mask is not None:
            object.__setattr__(self, "image_shape", tuple(self.image_shape) or tuple(self.mask.shape))
        object.__setattr__(self, "recon_shape", tuple(self.recon_shape) or self.image_shape)
        shape, ndim = self.image_shape, len(self.image_shape)
        if ndim not in (2, 3):
            raise ValueError(f"KSpace: image_shape is {shape}, expected (z, y, x) or (y, x)")
        if len(self.recon_shape) != ndim or any(n > m for n, m in zip(self.recon_shape, shape, strict=True)):
            raise ValueError(f"KSpace: recon_shape is {self.recon_shape}, expected at most image_shape {shape}")
        if self.data.dtype != torch.complex64:
            raise TypeError(f"KSpace: data is {self.data.dtype}, expected complex64; convert with .to")
        coils = len(self.data) if self.data.ndim else 0
        if self.mask is not None:
            _check_shape("mask", self.mask, shape)
            _check_shape("data", self.data, (coils, *shape))
        if self.trajectory is not None:
            self._check_trajectory(self.trajectory, coils)
        for name, other, expected in (
            ("noise", self.noise, None if self.noise is None else (coils, *self.noise.shape[1:])),
            ("calibration", self.calibration, (coils, *shape)),
            ("reference", self.reference, self.recon_shape),
        ):
            if other is not None and expected is not None:
                _check_shape(name, other, expected)
        if not coils:
            raise ValueError("KSpace: data of no coil; expected (coils, ...) with at least one")

    def _check_trajectory(self, trajectory: Tensor, coils: int) -> None:
        shots = tuple(self.data.shape[1:])
        _check_shape("trajectory", trajectory, (*shots, len(self.image_shape)))
        _check_shape("data", self.data, (coils, *shots))
        if trajectory.dtype != torch.float32:
            raise TypeError(f"KSpace: trajectory is {trajectory.dtype}, expected float32; convert with .to")
        if not bool((trajectory.abs() <= math.pi * (1 + 1e-6)).all()):
            raise ValueError("KSpace: trajectory leaves [-pi, pi]; expected rad per voxel")

    def __repr__(self) -> str:
        kind = "Cartesian" if self.mask is not None else "non-Cartesian"
        where = ", ".join(f"{name} {number}" for name, number in self.index.items())
        return f"KSpace({kind}, data {tuple(self.data.shape)}, image {self.image_shape}{where and ', ' + where})"

    def mixed(self, matrix: Tensor) -> KSpace:
        """The same scan seen by virtual coils: data, noise and calibration, mixed alike.

        Args:
            matrix: (virtual coils, coils) complex64, as `prewhiten` and `coil_compression` give it.
        """
        noise, calibration = (
            None if part is None else torch.tensordot(matrix, part, 1) for part in (self.noise, self.calibration)
        )
        return replace(self, data=torch.tensordot(matrix, self.data, 1), noise=noise, calibration=calibration)

    def crop(self, image: Tensor) -> Tensor:
        """The part of an image (..., *image_shape) that the scanner shows, (..., *recon_shape)."""
        if tuple(image.shape[-len(self.image_shape) :]) != self.image_shape:
            raise ValueError(
                f"KSpace: image has shape {tuple(image.shape)}, expected (..., "
                f"{', '.join(map(str, self.image_shape))}); pass the reconstruction of this k-space"
            )
        for axis, size in zip(range(-len(self.recon_shape), 0), self.recon_shape, strict=True):
            image = _central(image, axis, size)
        return image

    def place(self, image: Tensor) -> Image:
        """A reconstruction, cropped and turned to the patient's axes (z, y, x), for `write_image`.

        Args:
            image: (*image_shape), real or complex; or (*recon_shape), cropped already.

        The middle of voxel n // 2 lies at `center`. Where the place is unknown the axes stay as they are, about 0.

        Raises:
            ValueError: if the shape is neither, or the voxel size is unknown.
        """
        cropped = image if tuple(image.shape) == self.recon_shape else self.crop(image)
        return _placed(cropped, self.voxel_size, self.center, self.direction)


def place_slices(slices: Sequence[KSpace], images: Tensor) -> Image:
    """Reconstructions of parallel slices as one volume, turned to the patient's axes (z, y, x).

    Slices are sorted along their common normal, and the spacing of their middles becomes the voxel size; where places
    are unknown they are stacked as given, one thickness apart.

    Args:
        slices: k-space of the slices of one volume, in any order.
        images: (slices, *image_shape) or (slices, *recon_shape), in the same order.

    Raises:
        ValueError: if the numbers disagree, slices are not parallel and evenly spaced, or have no voxel size.
    """
    first = slices[0]
    if len(slices) != len(images) or any(k.recon_shape != first.recon_shape for k in slices):
        raise ValueError(
            f"place_slices: {len(images)} images of {len(slices)} slices of shapes "
            f"{sorted({k.recon_shape for k in slices})}; expected one image for each of equal shapes"
        )
    cropped = torch.stack(
        [x if tuple(x.shape) == k.recon_shape else k.crop(x) for k, x in zip(slices, images, strict=True)]
    )
    if len(slices) == 1 or first.voxel_size is None or first.center is None or first.direction is None:
        middle = first.center if len(slices) == 1 else None
        return _placed(cropped, first.voxel_size, middle, first.direction)
    _check_parallel(slices, first.direction)
    normal = first.direction[:, 0]
    centers = np.array([k.center for k in slices])
    order = np.argsort(centers @ normal, kind="stable")
    steps = np.diff(centers[order], axis=0)
    spacing = float(steps.mean(axis=0) @ normal)
    if spacing <= 0 or np.abs(steps - spacing * normal).max() > _UNEVEN * spacing:
        raise ValueError(
            f"place_slices: slices lie {np.unique((steps @ normal).round(3)).tolist()} mm apart along their normal, "
            "expected one positive spacing and no shift aside; pass the slices of one stack, each once"
        )
    size = (spacing, *first.voxel_size[1:])
    z, y, x = centers[order[len(slices) // 2]].tolist()
    return _placed(cropped[torch.from_numpy(order)], size, (z, y, x), first.direction)


def remove_oversampling(data: Tensor, size: int) -> Tensor:
    """k-space (..., x) of the middle `size` voxels along x; complete lines are needed, or the cut end rings.

    Orthonormal transforms leave the image and the noise of a sample as they are.
    """
    if size == data.shape[-1]:
        return data
    image = torch.fft.ifft(torch.fft.ifftshift(data, -1), norm="ortho")
    middle = _central(torch.fft.fftshift(image, -1), -1, size)
    return torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(middle, -1), norm="ortho"), -1)


def _central(image: Tensor, axis: int, size: int) -> Tensor:
    """`size` voxels of an axis, voxel n // 2 staying voxel size // 2."""
    return image.narrow(axis, image.shape[axis] // 2 - size // 2, size)


def _placed(
    image: Tensor,
    voxel_size: tuple[float, float, float] | None,
    center: tuple[float, float, float] | None,
    direction: NDArray[np.float64] | None,
) -> Image:
    if voxel_size is None:
        raise ValueError(
            "KSpace: the file has no voxel size; pass it with dataclasses.replace(k_space, voxel_size=(z, y, x))"
        )
    volume = image.detach().cpu()
    volume = volume.unsqueeze(0) if volume.ndim == 2 else volume
    known = center is not None and direction is not None
    matrix = (direction if known and direction is not None else np.eye(3)) * np.asarray(voxel_size)
    origin = np.asarray(center if known else (0.0, 0.0, 0.0)) - matrix @ (np.array(volume.shape) // 2)
    return upright(volume.numpy(), matrix, origin)


def _check_parallel(slices: Sequence[KSpace], direction: NDArray[np.float64]) -> None:
    for k in slices:
        if k.center is None or k.direction is None or not np.allclose(k.direction, direction, atol=1e-3):
            raise ValueError(
                f"place_slices: the slice at {dict(k.index)} is not parallel to the first; pass the slices of one stack"
            )


def _check_shape(name: str, values: Any, shape: tuple[int, ...]) -> None:
    if tuple(values.shape) != shape:
        raise ValueError(f"KSpace: {name} has shape {tuple(values.shape)}, expected {shape}")
    if not bool(torch.isfinite(torch.view_as_real(values) if values.is_complex() else values).all()):
        raise ValueError(f"KSpace: {name} holds NaN or Inf; measure or export it again")
