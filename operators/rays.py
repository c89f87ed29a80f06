"""Line integrals along arbitrary rays: the engine shared by X-ray CT and PET."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators._devices import on_gpu
from scoreinv.operators._threads import parts, pieces, run, slabs_of, zeros
from scoreinv.operators.geometry import Rays, Volume
from scoreinv.operators.linear import LinearOperator

_CACHE_LINE = 16  # voxels; slabs along x of whole lines, so that threads do not write to the same one
_POINTS = ("start", "start_v", "start_u", "end", "end_v", "end_u")


class RayTransform(LinearOperator):
    """Integrals of an image along rays, by Joseph's method, with its exact transpose.

    A ray is the segment from its start to its end. Its driving axis is that of its largest step in voxels. Each slice
    of this axis contributes the image interpolated bilinearly where the ray crosses, times the length of ray within the
    slice [Joseph 1982, IEEE TMI 1:192-196]. A segment that begins or ends within a slice counts with its part of it, so
    that the integrals over the pieces of a segment add up. Outside the grid the image is zero; a ray that misses it, or
    whose ends coincide, gives 0.

    Image (z, y, x) float32, in 1/mm; integrals (views, v, u) float32, without dimension. Both directions run where
    their argument is. On the CPU they use `torch.get_num_threads()` threads, and to the last bit their results do not
    depend on that number. On an NVIDIA GPU they are the same to rounding; the adjoint adds in no fixed order, so its
    last bits differ from run to run. It needs no memory beyond its output.

    Args:
        rays: where the rays run, mm.
        volume: the grid of the image.
        device: the only one to work on, "cpu" or "cuda"; None means that of the argument.

    Raises:
        ImportError: for data on a GPU, without numba-cuda.
        ValueError: if the end points are not finite or do not agree in number, or there are kernels for no such device.
    """

    volume: Volume

    def __init__(self, rays: Rays, volume: Volume, device: torch.device | str | None = None) -> None:
        super().__init__(in_shape=volume.shape, out_shape=rays.shape, device=device)
        self.rays = rays
        self.volume = volume
        # Plain tuples of fixed types, so that the kernels are compiled once for all scans.
        self._rays = (self.out_shape, *(_vectors(rays, name) for name in _POINTS))
        self._grid = (volume.shape, volume.voxel_size, tuple(float(position) for position in volume.first_voxel))
        self._work = math.prod(self.out_shape) * max(self.in_shape)  # steps, at most
        self._points_on: dict[torch.device, Tensor] = {}

    def subset(self, i: int, n: int) -> RayTransform:
        """The transform along the rays of views i, i + n, i + 2n, ..."""
        views = self.out_shape[0]
        if not 0 <= i < n <= views:
            raise ValueError(f"RayTransform: subset {i} of {n}; expected 0 <= i < n <= {views} views")
        points = [getattr(self.rays, name)[i::n] for name in _POINTS]
        return RayTransform(Rays((len(points[0]), *self.rays.shape[1:]), *points), self.volume, self.device)

    @cached_property
    def _axes(self) -> tuple[bool, ...]:
        """Which axes (z, y, x) are the driving axis of some ray."""
        from scoreinv.operators import _joseph

        return tuple(bool(_joseph.drives(self._grid, self._rays, k)) for k in range(3))

    def _apply(self, x: Tensor) -> Tensor:
        images = x.detach().contiguous().reshape(-1, math.prod(self.in_shape))
        data = images.new_empty(len(images), math.prod(self.out_shape))
        if on_gpu("RayTransform", x.device):
            from scoreinv.operators import _joseph_cuda

            _joseph_cuda.forward(images, data, self._grid, self.out_shape[1:], self._points(x.device))
        else:
            self._collect(images.numpy(), data.numpy())
        return data.reshape(*x.shape[: x.ndim - 3], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        data = y.detach().contiguous().reshape(-1, math.prod(self.out_shape))
        images = zeros(data, len(data), math.prod(self.in_shape))
        if on_gpu("RayTransform", y.device):
            from scoreinv.operators import _joseph_cuda

            _joseph_cuda.adjoint(images, data, self._grid, self.out_shape[1:], self._points(y.device))
        else:
            self._spread(images.numpy(), data.numpy())
        return images.reshape(*y.shape[: y.ndim - 3], *self.in_shape)

    def _collect(self, images: Any, data: Any) -> None:
        """Write the integrals, (items, rays), of images (items, voxels), on the CPU."""
        from scoreinv.operators import _joseph

        axes = self._axes

        def collect(item: int, begin: int, end: int) -> None:
            _joseph.forward(images[item], data[item], self._grid, self._rays, axes, begin, end)

        chunks = pieces(_joseph.blocks(self.out_shape), parts(self._work, 16))
        run(collect, [(item, *piece) for item in range(len(images)) for piece in chunks])

    def _spread(self, images: Any, data: Any) -> None:
        """The transpose of `_collect`, added to images of zeros."""
        from scoreinv.operators import _joseph

        def spread(item: int, k: int, low: int, high: int) -> None:
            _joseph.adjoint(images[item], data[item], self._grid, self._rays, k, low, high)

        # One driving axis after the other, since slabs of different axes cross.
        for k in range(3):
            if self._axes[k]:
                slabs = pieces(self.in_shape[k], slabs_of(self._work), _CACHE_LINE)
                run(spread, [(item, k, *slab) for item in range(len(data)) for slab in slabs])

    def _points(self, device: torch.device) -> Tensor:
        """End points as the kernels of a GPU take them, (6, views, 3) float64, moved once."""
        if device not in self._points_on:
            self._points_on[device] = torch.from_numpy(np.stack(self._rays[1:])).to(device)
        return self._points_on[device]


def _vectors(rays: Rays, name: str) -> Any:
    """One field of `rays` as the kernels take it: contiguous and, always, read-only."""
    values = np.ascontiguousarray(getattr(rays, name), dtype=np.float64).view()
    if values.shape != (rays.shape[0], 3):
        raise ValueError(f"RayTransform: {name} of the rays has shape {values.shape}, expected ({rays.shape[0]}, 3)")
    if not np.isfinite(values).all():
        raise ValueError(f"RayTransform: {name} of the rays holds NaN or Inf; expected positions in mm")
    values.flags.writeable = False
    return values
