"""X-ray CT: line integrals of the attenuation of a volume, with a cone or a parallel beam."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.operators._devices import DEVICES, device_of
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry, Rays, Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.rays import RayTransform
from scoreinv.operators.streamed import StreamedTransform


class _CT(LinearOperator):
    """What both beams share: attenuation (z, y, x) in 1/mm -> line integrals (views, v, u)."""

    unit = "1/mm"
    backends: tuple[str, ...] = tuple(DEVICES)
    geometry: ConeBeamGeometry | ParallelBeamGeometry
    volume: Volume

    def __init__(
        self, geometry: ConeBeamGeometry | ParallelBeamGeometry, volume: Volume, backend: str = "auto"
    ) -> None:
        name = type(self).__name__
        if backend not in self.backends:
            raise ValueError(f"{name}: backend is {backend!r}, expected one of {', '.join(map(repr, self.backends))}")
        self.geometry = geometry
        self.volume = volume
        self.backend = backend
        _check_shadow(self._shadow(), geometry.detector_shape, name)
        self._transform = self._line_integrals()
        super().__init__(volume.shape, geometry.shape, device=self._transform.device)

    @abstractmethod
    def _shadow(self) -> NDArray[np.float64]:
        """Pixel coordinates (views, 8, 2), each (v, u), of the corners of the volume; NaN where they have none."""

    def with_backend(self, backend: str) -> Self:
        """The same scan, its line integrals by another backend. Raises as the operator."""
        return type(self)(self.geometry, self.volume, backend)

    def subset(self, i: int, n: int) -> Self:
        """The operator of views i, i + n, i + 2n, ..."""
        return type(self)(self.geometry.subset(i, n), self.volume, self.backend)

    def _line_integrals(self) -> LinearOperator:
        name, rays = type(self).__name__, self.geometry.rays(self.volume)
        if self.backend == "parallelproj":
            from scoreinv.operators._parallelproj import ParallelprojTransform

            return ParallelprojTransform(name, rays, self.volume, self.view_axis)
        device = device_of(name, self.backend)
        if self.backend == "streamed":
            return StreamedTransform(partial(_part, rays), self.volume, rays.shape, self.view_axis)
        return RayTransform(rays, self.volume, device)

    def _apply(self, x: Tensor) -> Tensor:
        return self._transform.forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._transform.adjoint(y)

    def _inspect(self, x: Tensor) -> None:
        lowest = float(x.detach().min()) if x.numel() else 0.0
        if lowest < -1:
            warnings.warn(
                f"{type(self).__name__}: the image goes down to {lowest:.4g}, expected attenuation in 1/mm, about 0 to "
                "0.1; convert HU with mu = 0.02 * (1 + HU / 1000)",
                UserWarning,
                stacklevel=3,
            )

    def _hint(self, what: str, shape: tuple[int, ...]) -> str:
        if what == "image":
            return "; axes are (z, y, x), resample the image or build the Volume for it"
        if len(shape) >= 3 and shape[-2:] == self.out_shape[1:]:
            return f"; axes are (views, v, u), pass the angles of the {shape[-3]} views"
        return "; axes are (views, v, u)"


class ConeBeamCT(_CT):
    """Cone-beam CT: attenuation (z, y, x) in 1/mm -> line integrals (views, v, u), without dimension.

    Each pixel holds the integral along the ray from the source to its middle, by Joseph's method (`RayTransform`). The
    adjoint is the exact transpose (but for "tigre"), without the weights of a filtered backprojection.

    Args:
        geometry: source and detector, view by view.
        volume: the grid of the image.
        backend: what computes the line integrals: "numba" on the CPU, "cuda" on an NVIDIA GPU, "auto" by these two,
            where the data are; "streamed" on a GPU for data on the CPU, piece by piece, where they are too large for
            it; or "parallelproj". "tigre" projects by TIGRE on an NVIDIA GPU, whose transpose nobody
            has: the adjoint is that of "numba".

    Raises:
        ImportError: for backend "parallelproj" or "tigre" without it, or on a GPU without numba-cuda.
        RuntimeError: for backend "cuda", "streamed" or "tigre" without a GPU.
        ValueError: for an unknown backend, a scan that TIGRE cannot express, or a detector that sees nothing of the
            volume in any view.
    """

    backends = (*DEVICES, "tigre")
    geometry: ConeBeamGeometry

    def __init__(self, geometry: ConeBeamGeometry, volume: Volume, backend: str = "auto") -> None:
        super().__init__(geometry, volume, backend)

    def _shadow(self) -> NDArray[np.float64]:
        return self.geometry.project(self.volume.corners)

    def _line_integrals(self) -> LinearOperator:
        if self.backend == "tigre":
            from scoreinv.operators.tigre_projector import TigreTransform

            return TigreTransform(type(self).__name__, self.geometry, self.volume)
        return super()._line_integrals()


class ParallelBeamCT(_CT):
    """Parallel-beam CT: attenuation (z, y, x) in 1/mm -> line integrals (views, v, u), without dimension.

    As `ConeBeamCT`, with parallel rays.

    Args:
        geometry: directions and detector, view by view.
        volume: the grid of the image.
        backend: what computes the line integrals: "numba" on the CPU, "cuda" on an NVIDIA GPU, "auto" by these two,
            where the data are; "streamed" on a GPU for data on the CPU, piece by piece, where they are too large for
            it; or "parallelproj".

    Raises:
        ImportError: for backend "parallelproj" without it, or on a GPU without numba-cuda.
        RuntimeError: for backend "cuda" or "streamed" without a GPU.
        ValueError: for an unknown backend, or a detector that sees nothing of the volume in any view.
    """

    geometry: ParallelBeamGeometry

    def __init__(self, geometry: ParallelBeamGeometry, volume: Volume, backend: str = "auto") -> None:
        super().__init__(geometry, volume, backend)

    def _shadow(self) -> NDArray[np.float64]:
        geometry = self.geometry
        # corner = detector center + s direction + i v_step + j u_step, with i and j counted from the middle
        basis = np.stack([geometry.directions, geometry.v_steps, geometry.u_steps], -1)
        offsets = self.volume.corners[None] - geometry.detector_centers[:, None]
        steps = np.linalg.solve(basis[:, None], offsets[..., None])[..., 1:, 0]
        return steps + (np.asarray(geometry.detector_shape) - 1) / 2


def _part(rays: Rays, slab: Volume, i: int, n: int) -> LinearOperator:
    return RayTransform(rays, slab).subset(i, n)


def _check_shadow(shadow: NDArray[np.float64], detector_shape: tuple[int, int], name: str) -> None:
    """Raise unless the shadow of the volume, (views, 8, 2) pixels, meets the detector in some view."""
    low, high = shadow.min(axis=1), shadow.max(axis=1)
    outside = (high < -0.5) | (low > np.asarray(detector_shape) - 0.5)  # False for NaN: a corner behind the source
    if outside.any(axis=1).all():
        (top, left), (bottom, right) = np.min(low, axis=0), np.max(high, axis=0)
        raise ValueError(
            f"{name}: the detector sees nothing of the volume in any view; its shadow covers rows {top:.0f} to "
            f"{bottom:.0f} and columns {left:.0f} to {right:.0f}, expected some within {detector_shape}; check "
            "pixel_size, detector_offset and Volume.center, all in mm"
        )
