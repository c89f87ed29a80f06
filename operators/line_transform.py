"""Line integrals of an image along all lines of a PET sinogram, or along those of single events."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.operators._threads import pieces, run
from scoreinv.operators.geometry import Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.lines import Indices, LinesOfResponse
from scoreinv.operators.tof import TOF

_DRIVES = (1, 2)  # y and x
STACKED = 256  # voxels along z of images that are taken together
_SAME = 1e-6  # mm; rises of one group differ by less


class _Transform(LinearOperator):
    """How both run their kernels. Both directions use `torch.get_num_threads()` threads."""

    volume: Volume

    def __init__(self, volume: Volume, tof: TOF | None, rows: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
        super().__init__(volume.shape, out_shape, device="cpu")
        self.volume, self.tof = volume, tof
        self._rows = rows
        # Plain tuples of fixed types, so that the kernels are compiled once for all scans.
        self._grid = (volume.shape, volume.voxel_size, tuple(float(position) for position in volume.first_voxel))
        table = np.zeros((2, 2), np.float32) if tof is None else tof.table()
        self._tof = (0, 1.0, 1.0, table) if tof is None else (tof.bins, tof.bin_width, tof.reach, table)

    @abstractmethod
    def _kernels(self) -> tuple[Any, Any, tuple[Any, ...]]:
        """Forward kernel, adjoint kernel, and the arguments between `grid` and the range of work."""

    def _apply(self, x: Tensor) -> Tensor:
        forward, _, arguments = self._kernels()
        batch = tuple(x.shape[: x.ndim - 3])
        images = x.detach().reshape(-1, *self.in_shape).permute(0, 2, 3, 1).contiguous().numpy()
        images = images.reshape(len(images), -1)
        data = np.empty((len(images), *self._rows), dtype=np.float32)

        def collect(item: int, begin: int, end: int) -> None:
            forward(images[item], data[item], self._grid, *arguments, begin, end)

        chunks = pieces(self._rows[0], 16 * torch.get_num_threads())
        run(collect, [(item, *piece) for item in range(len(images)) for piece in chunks])
        return torch.from_numpy(data).reshape(*batch, *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        _, adjoint, arguments = self._kernels()
        batch = tuple(y.shape[: y.ndim - len(self.out_shape)])
        data = y.detach().contiguous().numpy().reshape(math.prod(batch), *self._rows)
        z, rows, columns = self.in_shape
        images = np.zeros((len(data), rows * columns * z), dtype=np.float32)

        def spread(item: int, drive: int, begin: int, end: int) -> None:
            adjoint(images[item], data[item], self._grid, *arguments, drive, begin, end)

        # One driving axis after the other, since slabs of different axes cross. Few slabs, since each goes through all
        # lines; two a thread, since those at the rim have less to do.
        for drive in _DRIVES:
            slabs = pieces(self.in_shape[drive], 2 * torch.get_num_threads())
            run(spread, [(item, drive, *slab) for item in range(len(data)) for slab in slabs])
        image = torch.from_numpy(images).reshape(len(data), rows, columns, z).permute(0, 3, 1, 2)
        return image.reshape(*batch, *self.in_shape).contiguous()


@dataclass(frozen=True)
class _Stack:
    """Lines of several images that lie one above the other along z, far enough apart to share none.

    Attributes:
        shape, ends, z: as of `LinesOfResponse`, the planes of one image after those of another.
    """

    shape: tuple[int, int, int]
    ends: tuple[NDArray[np.float64], NDArray[np.float64]]
    z: tuple[NDArray[np.float64], NDArray[np.float64]]


class LineTransform(_Transform):
    """Integrals of an image along the lines of a sinogram, by Joseph's method, with its exact transpose.

    A line is the segment between its crystals. Slices of its driving axis, that of its largest step in voxels across
    the scanner's axis, contribute the image interpolated bilinearly where the line crosses, times the length of line
    within the slice [Joseph 1982, IEEE TMI 1:192-196]. z never drives: a line that rises by several voxels a slice
    samples them coarsely, as on scanners longer than wide. Outside the grid the image is zero.

    Image (z, y, x) float32; integrals (radial, views, planes[, tof]) float32, unit of the image times mm. Both
    directions run on the CPU, and to the last bit their results do not depend on the number of threads. They need
    memory for one more copy of the image, and for no line. Flat images of a batch are stacked along z, so that a line
    is followed once for many of them.

    Args:
        lines: where the lines run.
        volume: the grid of the image.
        tof: time-of-flight bins; None for none.
    """

    def __init__(self, lines: LinesOfResponse | _Stack, volume: Volume, tof: TOF | None = None) -> None:
        radial, views, planes = lines.shape
        bins = 1 if tof is None else tof.bins
        out_shape = lines.shape if tof is None else (*lines.shape, bins)
        super().__init__(volume, tof, (radial * views, planes * bins), out_shape)
        self.lines = lines
        across = tuple(_frozen(ends.reshape(-1, 2)) for ends in lines.ends)
        self._arguments = (across, _groups(*lines.z, volume), self._tof)
        self._stacks: dict[int, LineTransform] = {}

    def _kernels(self) -> tuple[Any, Any, tuple[Any, ...]]:
        from scoreinv.operators import _lors

        return _lors.forward, _lors.adjoint, self._arguments

    @cached_property
    def _pitch(self) -> int:
        """Slices from one image of a stack to the next: its own, and so many of zeros that no line meets another's."""
        places = (np.concatenate(self.lines.z) - self.volume.first_voxel[0]) / self.volume.voxel_size[0]
        beyond = max(0.0, float(-places.min()), float(places.max()) - (self.in_shape[0] - 1))
        return self.in_shape[0] + math.ceil(beyond) + 1

    def _stacked(self, n: int) -> LineTransform:
        """Of n images."""
        if n not in self._stacks:
            size = self.volume.voxel_size
            above = np.repeat(np.arange(n) * self._pitch * size[0], self.lines.shape[2])
            first, second = (np.tile(z, n) + above for z in self.lines.z)
            (slices, rows, columns), (z, y, x), depth = self.volume.shape, self.volume.center, n * self._pitch
            middle = z + (depth - slices) / 2 * size[0]
            lines = _Stack((*self.lines.shape[:2], n * self.lines.shape[2]), self.lines.ends, (first, second))
            self._stacks[n] = LineTransform(lines, Volume((depth, rows, columns), size, (middle, y, x)), self.tof)
        return self._stacks[n]

    def _apply(self, x: Tensor) -> Tensor:
        batch, together = tuple(x.shape[:-3]), max(1, STACKED // self._pitch)
        if math.prod(batch) == 1 or together == 1:
            return super()._apply(x)
        parts = []
        for images in x.detach().reshape(-1, *self.in_shape).split(together):
            n = len(images)
            column = torch.zeros(n, self._pitch, *self.in_shape[1:])
            column[:, : self.in_shape[0]] = images
            data = self._stacked(n)._apply(column.flatten(0, 1))
            parts.append(data.unflatten(2, (n, -1)).movedim(2, 0))
        return torch.cat(parts).reshape(*batch, *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        batch, together = tuple(y.shape[: y.ndim - len(self.out_shape)]), max(1, STACKED // self._pitch)
        if math.prod(batch) == 1 or together == 1:
            return super()._adjoint(y)
        parts = []
        for data in y.detach().reshape(-1, *self.out_shape).split(together):
            n = len(data)
            column = self._stacked(n)._adjoint(data.movedim(0, 2).flatten(2, 3))
            parts.append(column.unflatten(0, (n, -1))[:, : self.in_shape[0]])
        return torch.cat(parts).reshape(*batch, *self.in_shape)


class EventTransform(_Transform):
    """Integrals of an image along the lines of single events, as `LineTransform` has them in its bins.

    Image (z, y, x) float32; integrals (events,) float32.

    Args:
        lines: of the sinogram whose bins the events fell into.
        volume: the grid of the image.
        bins: radial bin, view and plane of every event, and the time-of-flight bin if there are any; each (events,).
        tof: time-of-flight bins; None for none.
    """

    def __init__(
        self, lines: LinesOfResponse, volume: Volume, bins: tuple[Indices, ...], tof: TOF | None = None
    ) -> None:
        events = len(bins[0])
        super().__init__(volume, tof, (events,), (events,))
        first, second = lines.points(*bins[:3])
        across = tuple(_frozen(points[:, 1:]) for points in (first, second))
        along = tuple(_frozen(points[:, 0]) for points in (first, second))
        bin_of = _frozen(np.zeros(events, np.int64) if tof is None else bins[3].astype(np.int64))
        self._arguments = (across, along, bin_of, self._tof)

    def _kernels(self) -> tuple[Any, Any, tuple[Any, ...]]:
        from scoreinv.operators import _lors

        return _lors.forward_events, _lors.adjoint_events, self._arguments


def _groups(first: NDArray[np.float64], second: NDArray[np.float64], volume: Volume) -> tuple[Any, ...]:
    """Planes sorted by length, as the kernels take them."""
    rise = second - first
    height = np.round(np.abs(rise) / _SAME) * _SAME
    order = np.lexsort((rise, height))
    heights, starts = np.unique(height[order], return_index=True)
    size = volume.voxel_size[0]
    start = (first[order] - volume.first_voxel[0]) / size
    return tuple(map(_frozen, (start, rise[order] / size, order, np.append(starts, len(order)), heights)))


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    """As the kernels take it: contiguous and, always, read-only."""
    values = np.ascontiguousarray(values).view()
    values.flags.writeable = False
    return values
