"""Line integrals by TIGRE, which computes on NVIDIA GPUs alone."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scoreinv.operators.geometry import ConeBeamGeometry, Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.rays import RayTransform
from scoreinv.operators.tigre import to_tigre

log = logging.getLogger(__name__)

_INSTEAD = "backend 'numba'"
_told: set[str] = set()  # operators whose users know


class TigreTransform(LinearOperator):
    """Forward by TIGRE's "interpolated" projector, adjoint the transpose of `RayTransform`, data on the CPU.

    TIGRE samples a ray every half voxel where Joseph's method interpolates within slices, so this adjoint is not the
    transpose of this forward, as TIGRE's own "matched" one is not: methods that need one, such as conjugate gradients,
    come to rest where the two disagree.

    Args:
        name: of the operator, for errors.
        geometry: source and detector, view by view.
        volume: the grid of the image.

    Raises:
        ImportError: without TIGRE.
        RuntimeError: without an NVIDIA GPU.
        ValueError: for a view that TIGRE cannot express, or data on a GPU, as TIGRE takes those of the host.
    """

    def __init__(self, name: str, geometry: ConeBeamGeometry, volume: Volume) -> None:
        import_tigre(name, _INSTEAD)
        super().__init__(volume.shape, geometry.shape, device="cpu")
        self.name, self._scan = name, to_tigre(geometry, volume)
        self._transposed = RayTransform(geometry.rays(volume), volume, "cpu")

    def _apply(self, x: Tensor) -> Tensor:
        images = x.detach().reshape(-1, *self.in_shape).contiguous().numpy()
        project = partial(import_tigre(self.name, _INSTEAD).Ax, projection_type="interpolated")
        data = [torch.from_numpy(project(image, *self._scan)) for image in images]
        return torch.stack(data).reshape(*x.shape[: x.ndim - 3], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        if self.name not in _told:
            _told.add(self.name)
            log.warning(
                "%s: backend 'tigre' is no exact pair: its adjoint is that of backend 'numba', and |<A x, y> - "
                "<x, A^T y>| is %.1g of |A x| |y| for random numbers from 0 to 1",
                self.name,
                self._mismatch(),
            )
        return self._transposed.adjoint(y)

    def _mismatch(self) -> float:
        generator = torch.Generator().manual_seed(0)
        x, y = torch.rand(self.in_shape, generator=generator), torch.rand(self.out_shape, generator=generator)
        projected, spread = self._apply(x).double(), self._transposed.adjoint(y).double()
        return float(abs((projected * y).sum() - (x * spread).sum()) / (projected.norm() * y.double().norm()))


def import_tigre(name: str, instead: str) -> Any:
    """TIGRE, where it can compute: without a GPU its projectors end the process, so they are never called.

    Args:
        name: who asks, for errors.
        instead: what computes on the CPU, for errors.

    Raises:
        ImportError: without TIGRE.
        RuntimeError: without an NVIDIA GPU.
    """
    try:
        import tigre
        import tigre.algorithms
        from tigre.utilities.gpu import getGpuNames
    except ImportError as error:
        raise ImportError(
            f"{name} needs TIGRE, built from https://github.com/CERN/TIGRE (PyPI's tigre is another package): "
            f"{error}; {instead} needs nothing more"
        ) from error
    if not getGpuNames():
        raise RuntimeError(f"{name} needs an NVIDIA GPU, and TIGRE finds none; {instead} runs on the CPU")
    return tigre
