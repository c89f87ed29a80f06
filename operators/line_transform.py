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

from scoreinv.operators._devices import on_gpu
from scoreinv.operators._threads import parts, pieces, run, slabs_of, zeros
from scoreinv.operators.geometry import Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.lines import Indices, LinesOfResponse
from scoreinv.operators.tof import TOF

_DRIVES = (1, 2)  # y and x
STACKED = 256  # voxels along z of images that are taken together
_SAME = 1e-6  # mm; rises of one group differ by less


class _Transform(LinearOperator):
    """How both run their kernels, where the data are. On the CPU they use `torch.get_num_threads()` threads."""

    volume: Volume

    def __init__(
        self,
        volume: Volume,
        tof: TOF | None,
        rows: tuple[int, ...],
        out_shape: tuple[int, ...],
        device: torch.device | str | None,
    ) -> None:
        super().__init__(volume.shape, out_shape, device=device)
        self.volume, self.tof = volume, tof
        self._rows = rows
        self._work = math.prod(rows) * max(volume.shape[1:])  # steps, at most
        # Plain tuples of fixed types, so that the kernels are compiled once for all scans.
        self._grid = (volume.shape, volume.voxel_size, tuple(float(position) for position in volume.first_voxel))
        table = np.zeros((2, 2), np.float32) if tof is None else tof.table()
        self._tof = (0, 1.0, 1.0, table) if tof is None else (tof.bins, tof.bin_width, tof.reach, table)
        self._tables_on: dict[torch.device, tuple[Tensor, ...]] = {}

    @abstractmethod
    def _kernels(self) -> tuple[Any, Any, tuple[Any, ...]]:
        """Forward kernel, adjoint kernel, and the arguments between `grid` and the range of work."""

    @abstractmethod
    def _tables(self) -> tuple[NDArray[Any], ...]:
        """What the kernels of a GPU take between `grid` and `tof`."""

    @abstractmethod
    def _run_on_gpu(self, spread: bool, images: Tensor, data: Tensor, *tables: Any) -> None:
        """Add to the data, or to the images, on their device."""

    def _apply(self, x: Tensor) -> Tensor:
        images = x.detach().reshape(-1, *self.in_shape).permute(0, 2, 3, 1).contiguous().flatten(1)
        data = zeros(images, len(images), *self._rows)
        if on_gpu(type(self).__name__, x.device):
            self._run_on_gpu(False, images, data, *self._there(x.device))
        else:
            self._collect(images.numpy(), data.numpy())
        return data.reshape(*x.shape[: x.ndim - 3], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        batch = tuple(y.shape[: y.ndim - len(self.out_shape)])
        data = y.detach().contiguous().reshape(math.prod(batch), *self._rows)
        z, rows, columns = self.in_shape
        images = zeros(data, len(data), rows * columns * z)
        if on_gpu(type(self).__name__, y.device):
            self._run_on_gpu(True, images, data, *self._there(y.device))
        else:
            self._spread(images.numpy(), data.numpy())
        image = images.reshape(len(data), rows, columns, z).permute(0, 3, 1, 2)
        return image.reshape(*batch, *self.in_shape).contiguous()

    def _collect(self, images: Any, data: Any) -> None:
        """Write the integrals, (items, *rows), of images (items, y * x * z), on the CPU."""
        forward, _, arguments = self._kernels()

        def collect(item: int, begin: int, end: int) -> None:
            forward(images[item], data[item], self._grid, *arguments, begin, end)

        chunks = pieces(self._rows[0], parts(self._work, 16))
        run(collect, [(item, *piece) for item in range(len(images)) for piece in chunks])

    def _spread(self, images: Any, data: Any) -> None:
        """The transpose of `_collect`, added to images of zeros."""
        _, adjoint, arguments = self._kernels()

        def spread(item: int, drive: int, begin: int, end: int) -> None:
            adjoint(images[item], data[item], self._grid, *arguments, drive, begin, end)

        # One driving axis after the other, since slabs of different axes cross.
        for drive in _DRIVES:
            slabs = pieces(self.in_shape[drive], slabs_of(self._work))
            run(spread, [(item, drive, *slab) for item in range(len(data)) for slab in slabs])

    def _there(self, device: torch.device) -> tuple[Any, ...]:
        """Tables and time of flight on a GPU, moved once."""
        if device not in self._tables_on:
            arrays = (*self._tables(), self._tof[3])
            self._tables_on[device] = tuple(torch.from_numpy(values).to(device) for values in arrays)
        *tables, weights = self._tables_on[device]
        return *tables, (*self._tof[:3], weights)


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
    directions run where their argument is. On the CPU their results do not depend, to the last bit, on the number of
    threads. On an NVIDIA GPU they are the same to rounding; the adjoint adds in no fixed order, so its last bits differ
    from run to run. They need memory for one more copy of the image, and for no line. Flat images of a batch are
    stacked along z on the CPU, so that a line is followed once for many of them.

    Args:
        lines: where the lines run.
        volume: the grid of the image.
        tof: time-of-flight bins; None for none.
        device: the only one to work on, "cpu" or "cuda"; None means that of the argument.

    Raises:
        ImportError: for data on a GPU, without numba-cuda.
        ValueError: for data on another device than CPU and GPU.
    """

    def __init__(
        self,
        lines: LinesOfResponse | _Stack,
        volume: Volume,
        tof: TOF | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        radial, views, planes = lines.shape
        bins = 1 if tof is None else tof.bins
        out_shape = lines.shape if tof is None else (*lines.shape, bins)
        super().__init__(volume, tof, (radial * views, planes * bins), out_shape, device)
        self.lines = lines
        across = tuple(_frozen(ends.reshape(-1, 2)) for ends in lines.ends)
        self._arguments = (across, _groups(*lines.z, volume), self._tof)
        self._stacks: dict[int, LineTransform] = {}

    def _kernels(self) -> tuple[Any, Any, tuple[Any, ...]]:
        from scoreinv.operators import _lors

        return _lors.forward, _lors.adjoint, self._arguments

    def _tables(self) -> tuple[NDArray[Any], ...]:
        return np.stack(self._arguments[0]), np.stack(self.lines.z)

    def _run_on_gpu(self, spread: bool, images: Tensor, data: Tensor, *tables: Any) -> None:
        from scoreinv.operators import _lors_cuda

        _lors_cuda.sinogram(spread, images, data, self._grid, *tables)

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
        if math.prod(batch) == 1 or together == 1 or x.device.type != "cpu":
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
        if math.prod(batch) == 1 or together == 1 or y.device.type != "cpu":
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
        device: as of `LineTransform`.
    """

    def __init__(
        self,
        lines: LinesOfResponse,
        volume: Volume,
        bins: tuple[Indices, ...],
        tof: TOF | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        events = len(bins[0])
        super().__init__(volume, tof, (events,), (events,), device)
        first, second = lines.points(*bins[:3])
        across = tuple(_frozen(points[:, 1:]) for points in (first, second))
        along = tuple(_frozen(points[:, 0]) for points in (first, second))
        bin_of = _frozen(np.zeros(events, np.int64) if tof is None else bins[3].astype(np.int64))
        self._arguments = (across, along, bin_of, self._tof)

    def _kernels(self) -> tuple[Any, Any, tuple[Any, ...]]:
        from scoreinv.operators import _lors

        return _lors.forward_events, _lors.adjoint_events, self._arguments

    def _tables(self) -> tuple[NDArray[Any], ...]:
        across, along, bin_of, _ = self._arguments
        return np.stack(across), np.stack(along), np.array(bin_of)

    def _run_on_gpu(self, spread: bool, images: Tensor, data: Tensor, *tables: Any) -> None:
        from scoreinv.operators import _lors_cuda

        _lors_cuda.events(spread, images, data, self._grid, *tables)


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
