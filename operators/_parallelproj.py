"""Line integrals by parallelproj 2, which also runs on CUDA: X-ray CT and PET share it.

It takes the end points of every line in single precision; so they are made for a few views at a time. Rounding moves a
line by about 1e-7 of the distance of its ends. Its adjoint adds to its output with atomic operations: the last bits
differ from run to run. It differs from ours in two conventions. At the border of the image a line counts only where it
crosses the middle plane of a slice within the box of the voxels, whole. And the driving axis of a line is that of its
largest step in mm, not in voxels: where voxels are not cubes, lines between the two take Joseph's slices along another
axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators.geometry import Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.lines import Points
from scoreinv.operators.tof import SIGMAS, TOF

_LINES = 1 << 20  # at a time; end points take 24 bytes a line, and three times as many while they are made


class Lines(Protocol):
    """Straight lines, view by view."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def segments(self, views: slice) -> tuple[Points, Points]:
        """Both ends of every line of these views, each (*shape of these views, 3) in (z, y, x), mm."""
        ...


class ParallelprojTransform(LinearOperator):
    """As `RayTransform` or `LineTransform`, on the device of its argument.

    Args:
        name: of the operator, for errors.
        lines: `Rays` or `LinesOfResponse`.
        volume: the grid of the image.
        view_axis: of the shape of the lines.
        tof: time-of-flight bins, a last axis of the measurements; None for none.

    Raises:
        ImportError: without parallelproj 2.
        ValueError: for data on a device that it does not compute on.
    """

    volume: Volume

    def __init__(self, name: str, lines: Lines, volume: Volume, view_axis: int, tof: TOF | None = None) -> None:
        _core(name)
        super().__init__(volume.shape, lines.shape if tof is None else (*lines.shape, tof.bins))
        self.name, self.lines, self.volume, self.view_axis, self.tof = name, lines, volume, view_axis, tof

    def _apply(self, x: Tensor) -> Tensor:
        core = self._core_for(x.device)
        forward = core.joseph3d_fwd if self.tof is None else core.joseph3d_tof_sino_fwd
        images = x.detach().reshape(-1, *self.in_shape).contiguous()
        y = images.new_empty(len(images), *self.out_shape)
        for views, starts, ends in self._chunks(x.device):
            for image, data in zip(images, y, strict=True):
                part = torch.empty_like(data[views], memory_format=torch.contiguous_format)
                self._run(forward, starts, ends, image, part)
                data[views] = part
        return y.reshape(*x.shape[: x.ndim - 3], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        core = self._core_for(y.device)
        back = core.joseph3d_back if self.tof is None else core.joseph3d_tof_sino_back
        batch = y.shape[: y.ndim - len(self.out_shape)]
        items = y.detach().reshape(-1, *self.out_shape)
        images = items.new_zeros(len(items), *self.in_shape)
        for views, starts, ends in self._chunks(y.device):
            for image, data in zip(images, items, strict=True):
                self._run(back, starts, ends, image, data[views].contiguous())
        return images.reshape(*batch, *self.in_shape)

    def _run(self, kernel: Any, starts: Tensor, ends: Tensor, image: Tensor, data: Tensor) -> None:
        """Write the data of these lines, or add to the image."""
        device = image.device
        kernel(starts, ends, image, *self._grid(device), data, *self._resolution(device), device_id=device.index or 0)

    def _core_for(self, device: torch.device) -> Any:
        """parallelproj, which computes on this device: what is built for the CPU would read a GPU's addresses."""
        core = _core(self.name)
        if device.type != "cpu" and not (device.type == "cuda" and core.cuda_enabled):
            expected = "cpu or cuda" if core.cuda_enabled else "cpu, all that this parallelproj is built for"
            raise ValueError(
                f"{self.name}: data are on {device}, expected {expected}; move them with .to('cpu'), or take backend "
                "'auto'"
            )
        return core

    def _grid(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Middle of the first voxel, and voxel size."""
        numbers = (self.volume.first_voxel, np.asarray(self.volume.voxel_size))
        first, size = (torch.as_tensor(values, dtype=torch.float32, device=device) for values in numbers)
        return first, size

    def _resolution(self, device: torch.device) -> tuple[Any, ...]:
        if self.tof is None:
            return ()
        sigma, offset = torch.tensor([self.tof.sigma], device=device), torch.zeros(1, device=device)
        return self.tof.bin_width, sigma, offset, self.tof.bins, SIGMAS

    def _chunks(self, device: torch.device) -> Iterator[tuple[tuple[slice, ...], Tensor, Tensor]]:
        """Where some views are in the measurements, and the ends of their lines, float32 on the device."""
        views = self.lines.shape[self.view_axis]
        step = max(1, _LINES * views // math.prod(self.lines.shape))
        for begin in range(0, views, step):
            some = slice(begin, min(begin + step, views))
            starts, ends = (
                torch.from_numpy(points.astype(np.float32)).to(device) for points in self.lines.segments(some)
            )
            yield (slice(None),) * self.view_axis + (some,), starts, ends


def _core(name: str) -> Any:
    try:
        import parallelproj_core
    except ImportError as error:
        raise ImportError(
            f"{name}: backend 'parallelproj' needs parallelproj 2: conda install -c conda-forge parallelproj; "
            "backend 'numba' needs nothing more"
        ) from error
    return parallelproj_core
