"""`LineTransform` computed by parallelproj 2, which also runs on CUDA.

It takes the end points of every line in single precision; so they are made for a few views at a time. Its adjoint adds
to its output with atomic operations: the last bits differ from run to run. At the border of the image its convention
differs: a line counts only where it crosses the middle plane of a slice within the box of the voxels, whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators.geometry import Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.lines import LinesOfResponse
from scoreinv.operators.tof import SIGMAS, TOF

_LINES = 1 << 21  # at a time; end points take 24 bytes a line


class ParallelprojTransform(LinearOperator):
    """As `LineTransform`, on the device of its argument.

    Raises:
        ImportError: without parallelproj 2.
    """

    volume: Volume

    def __init__(self, lines: LinesOfResponse, volume: Volume, tof: TOF | None = None) -> None:
        try:
            import parallelproj_core  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise ImportError(
                "PET: backend 'parallelproj' needs parallelproj 2: conda install -c conda-forge parallelproj; "
                "backend 'numba' needs nothing more"
            ) from error
        self._core: Any = parallelproj_core
        super().__init__(volume.shape, lines.shape if tof is None else (*lines.shape, tof.bins))
        self.lines, self.volume, self.tof = lines, volume, tof

    def _apply(self, x: Tensor) -> Tensor:
        images = x.detach().reshape(-1, *self.in_shape).contiguous()
        y = x.new_empty(len(images), *self.out_shape)
        for views, first, last in self._chunks():
            starts, ends = first.to(x.device), last.to(x.device)
            for image, data in zip(images, y, strict=True):
                part = x.new_empty(starts.shape[:3] + self.out_shape[3:])
                forward = self._core.joseph3d_fwd if self.tof is None else self._core.joseph3d_tof_sino_fwd
                forward(starts, ends, image, *self._grid(x.device), part, *self._resolution(x.device))
                data[:, views] = part
        return y.reshape(*x.shape[: x.ndim - 3], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        batch = y.shape[: y.ndim - len(self.out_shape)]
        items = y.detach().reshape(-1, *self.out_shape)
        images = y.new_zeros(len(items), *self.in_shape)
        for views, first, last in self._chunks():
            starts, ends = first.to(y.device), last.to(y.device)
            for image, data in zip(images, items, strict=True):
                back = self._core.joseph3d_back if self.tof is None else self._core.joseph3d_tof_sino_back
                part = data[:, views].contiguous()
                back(starts, ends, image, *self._grid(y.device), part, *self._resolution(y.device))
        return images.reshape(*batch, *self.in_shape)

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

    def _chunks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Some views, and the ends of their lines, each (radial, views, planes, 3) in (z, y, x), mm."""
        radial, views, planes = self.lines.shape
        step = max(1, _LINES // math.prod((radial, planes)))
        for begin in range(0, views, step):
            some = slice(begin, min(begin + step, views))
            ends = []
            for z, across in zip(self.lines.z, self.lines.ends, strict=True):
                points = np.empty((radial, some.stop - begin, planes, 3), dtype=np.float32)
                points[..., 0], points[..., 1:] = z, across[:, some, None]
                ends.append(torch.from_numpy(points))
            yield some, ends[0], ends[1]
