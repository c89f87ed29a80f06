"""Line integrals of an image along all lines of a PET sinogram, or along those of single events."""

from __future__ import annotations

import math
from abc import abstractmethod
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


class LineTransform(_Transform):
    """Integrals of an image along the lines of a sinogram, by Joseph's method, with its exact transpose.

    A line is the segment between its crystals. Slices of its driving axis, that of its largest step in voxels across
    the scanner's axis, contribute the image interpolated bilinearly where the line crosses, times the length of line
    within the slice [Joseph 1982, IEEE TMI 1:192-196]. z never drives: a line that rises by several voxels a slice
    samples them coarsely, as on scanners longer than wide. Outside the grid the image is zero.

    Image (z, y, x) float32; integrals (radial, views, planes[, tof]) float32, unit of the image times mm. Both
    directions run on the CPU, and to the last bit their results do not depend on the number of threads. They need
    memory for one more copy of the image, and for no line.

    Args:
        lines: where the lines run.
        volume: the grid of the image.
        tof: time-of-flight bins; None for none.
    """

    def __init__(self, lines: LinesOfResponse, volume: Volume, tof: TOF | None = None) -> None:
        radial, views, planes = lines.shape
        bins = 1 if tof is None else tof.bins
        out_shape = lines.shape if tof is None else (*lines.shape, bins)
        super().__init__(volume, tof, (radial * views, planes * bins), out_shape)
        self.lines = lines
        across = tuple(_frozen(ends.reshape(-1, 2)) for ends in lines.ends)
        self._arguments = (across, _groups(*lines.z, volume), self._tof)

    def _kernels(self) -> tuple[Any, Any, tuple[Any, ...]]:
        from scoreinv.operators import _lors

        return _lors.forward, _lors.adjoint, self._arguments


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
