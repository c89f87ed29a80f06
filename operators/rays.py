"""Line integrals along arbitrary rays: the engine shared by X-ray CT and PET."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators.geometry import Rays, Volume
from scoreinv.operators.linear import LinearOperator

_POINTS = ("start", "start_v", "start_u", "end", "end_v", "end_u")


class RayTransform(LinearOperator):
    """Integrals of an image along rays, by Joseph's method, with its exact transpose.

    A ray is the segment from its start to its end. Along its driving axis, that of its largest step in voxels, each slice
    it crosses contributes the image interpolated bilinearly at the crossing times the length of ray within the slice
    [Joseph 1982, IEEE TMI 1:192-196]. Outside the grid the image is zero. A segment that begins or ends within a slice
    gets its part of it, so integrals over the pieces of a segment add up. A ray that misses the grid, or whose ends
    coincide, gives 0.

    The image (z, y, x) float32 per mm gives (views, v, u) float32 without dimension. Both directions are computed on
    the CPU with `torch.get_num_threads()` threads, and their result does not depend on that number, to the last bit.
    The adjoint needs no memory beyond its output.

    Args:
        rays: where the rays run, mm.
        volume: the grid of the image.

    Raises:
        ValueError: if end points are not finite or not (views, 3).
    """

    def __init__(self, rays: Rays, volume: Volume) -> None:
        super().__init__(in_shape=volume.shape, out_shape=rays.shape, device="cpu")
        self.rays = rays
        self.volume = volume
        points = [_read_only(getattr(rays, name)) for name in _POINTS]
        for name, values in zip(_POINTS, points, strict=True):
            if values.shape != (rays.shape[0], 3) or not np.isfinite(values).all():
                raise ValueError(
                    f"RayTransform: {name} has shape {values.shape}, expected ({rays.shape[0]}, 3) finite positions in mm"
                )
        # Plain tuples of fixed types, so that the kernels are compiled once for all scans.
        self._rays = (tuple(int(n) for n in rays.shape), *points)
        self._grid = (volume.shape, volume.voxel_size, tuple(float(position) for position in volume.first_voxel))

    def subset(self, i: int, n: int) -> RayTransform:
        """The transform along the rays of views i, i + n, i + 2n, ..."""
        views = self.rays.shape[0]
        if not 0 <= i < n <= views:
            raise ValueError(f"RayTransform: subset {i} of {n}; expected 0 <= i < n <= {views} views")
        points = [getattr(self.rays, name)[i::n] for name in _POINTS]
        return RayTransform(Rays((len(points[0]), *self.rays.shape[1:]), *points), self.volume)

    @cached_property
    def _axes(self) -> tuple[bool, ...]:
        """Which axes are the driving axis of some ray."""
        from scoreinv.operators import _joseph

        return tuple(bool(_joseph.drives(self._grid, self._rays, k)) for k in range(3))

    def _apply(self, x: Tensor) -> Tensor:
        from scoreinv.operators import _joseph

        images = x.detach().reshape(-1, math.prod(self.in_shape)).contiguous().numpy()
        data = np.empty((len(images), math.prod(self.out_shape)), dtype=np.float32)
        pieces = _pieces(_joseph.blocks(self.out_shape), 16 * torch.get_num_threads(), 1)

        def integrate(image: Any, values: Any, begin: int, end: int) -> None:
            _joseph.forward(image, values, self._grid, self._rays, self._axes, begin, end)

        _run(integrate, [(*pair, *piece) for pair in zip(images, data, strict=True) for piece in pieces])
        return torch.from_numpy(data).reshape(*x.shape[: x.ndim - 3], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        from scoreinv.operators import _joseph

        data = y.detach().reshape(-1, math.prod(self.out_shape)).contiguous().numpy()
        images = np.zeros((len(data), math.prod(self.in_shape)), dtype=np.float32)

        def spread(image: Any, values: Any, k: int, low: int, high: int) -> None:
            _joseph.adjoint(image, values, self._grid, self._rays, k, low, high)

        # One driving axis after the other: slabs of different axes cross.
        for k in range(3):
            if self._axes[k]:
                slabs = _pieces(self.in_shape[k], 4 * torch.get_num_threads(), _joseph.TILE)
                _run(spread, [(*pair, k, *slab) for pair in zip(images, data, strict=True) for slab in slabs])
        return torch.from_numpy(images).reshape(*y.shape[: y.ndim - 3], *self.in_shape)


def _pieces(total: int, number: int, multiple: int) -> list[tuple[int, int]]:
    """[0, total) in about `number` pieces whose size is a multiple of `multiple`."""
    size = multiple * max(1, -(-total // (number * multiple)))
    return [(begin, min(begin + size, total)) for begin in range(0, total, size)]


def _run(task: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Do all tasks, on torch's number of threads. A pool of their own each time: fork and nested calls do no harm."""
    arguments = list(arguments)
    threads = min(torch.get_num_threads(), len(arguments))
    if threads < 2:
        for values in arguments:
            task(*values)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(task, *values) for values in arguments]:
            done.result()


def _read_only(points: Any) -> Any:
    values = np.ascontiguousarray(points, dtype=np.float64).view()
    values.flags.writeable = False
    return values
