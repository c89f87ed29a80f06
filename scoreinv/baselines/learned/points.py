"""Where points cast their shadows, and what the features of the views say there.

Positions are exact to the voxel: a lattice of n points along an axis has them in the middle of n equal cells, features
of a coarser scale stand in the middle of the pixels they were made of, and all of it comes from `ConeBeamGeometry` and
`Volume`. (The released code asks a lattice made at i/32 for i/31, and pixels likewise, half a cell off at the rim.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scoreinv.baselines.learned.largest import largest
from scoreinv.operators.geometry import ConeBeamGeometry, Volume

_BESIDE = -1e4  # of a detector's half width: where points behind the source are put


def cell_centers(volume: Volume, cells: tuple[int, int, int], begin: int = 0, end: int | None = None) -> Tensor:
    """Middles of cells begin to end, of as many as `cells` (z, y, x) that the volume is cut into; (points, 3), mm."""
    index = np.stack(np.unravel_index(np.arange(begin, math.prod(cells) if end is None else end), cells), -1)
    return torch.from_numpy(_positions(volume, (index + 0.5) / np.asarray(cells)))


def _positions(volume: Volume, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.asarray(volume.shape) * np.asarray(volume.voxel_size)
    return np.asarray(volume.center) + (fractions - 0.5) * size


def within(volume: Volume, points: Tensor) -> Tensor:
    """Points (points, 3) in mm as fractions of the volume, -1 and 1 on its faces, float32."""
    size = torch.as_tensor(volume.shape) * torch.as_tensor(volume.voxel_size, dtype=torch.float64)
    return ((points - torch.as_tensor(volume.center, dtype=torch.float64)) * 2 / size).float()


def over_voxels(volume: Volume, chunk: int, at: Callable[[Tensor], Tensor]) -> Tensor:
    """What `at` answers to the middles (points, 3) of all voxels, mm, so many at a time; (z, y, x)."""
    voxels = math.prod(volume.shape)
    begins = range(0, voxels, chunk)
    parts = [at(cell_centers(volume, volume.shape, begin, min(begin + chunk, voxels))) for begin in begins]
    return torch.cat(parts).reshape(volume.shape)


def shadows(geometry: ConeBeamGeometry, points: Tensor, multiple: int = 1) -> Tensor:
    """Where points (points, 3) in mm fall on a detector widened to a multiple of pixels; (views, points, 2) float32.

    Order is (u, v); -1 and 1 are the outer rims of the first and the last pixel.
    """
    pixels = torch.from_numpy(geometry.project(points.numpy()))
    rows, columns = padded(geometry.detector_shape, multiple)
    places = (pixels + 0.5) * 2 / torch.tensor([rows, columns], dtype=torch.float64) - 1
    return places.nan_to_num(_BESIDE).clamp(_BESIDE, -_BESIDE).flip(-1).float()


def padded(shape: Sequence[int], multiple: int) -> tuple[int, int]:
    """The next (v, u) that can be halved without a remainder."""
    rows, columns = (-(-n // multiple) * multiple for n in shape)
    return rows, columns


def read_views(
    maps: Tensor, places: Tensor, seen: Tensor | None = None, pool: Literal["max", "mean"] = "max"
) -> Tensor:
    """Largest or mean feature over the views of a scan, at each point's shadow.

    Args:
        maps: (batch, views, channels, v, u).
        places: (batch, views, points, 2), as `shadows`; interpolated, 0 outside the detector.
        seen: (batch, views), False for views that are not to be asked; at least one of an item is True.
        pool: what is kept of the views.

    Returns:
        (batch, channels, points).
    """
    seen = maps.new_ones(maps.shape[:2], dtype=torch.bool) if seen is None else seen
    if pool == "max":
        return largest(maps, places, seen)
    total = maps.new_zeros(len(maps), maps.shape[2], places.shape[2])
    # View by view: all at once would need their number times the memory.
    for view in seen.any(0).nonzero()[:, 0].tolist():
        grid = places[:, view, None]
        found = functional.grid_sample(maps[:, view], grid, padding_mode="zeros", align_corners=False)[:, :, 0]
        total = total + found * seen[:, view, None, None]
    return total / seen.sum(1)[:, None, None]


def read_volume(features: Tensor, fractions: Tensor) -> Tensor:
    """Trilinear: features (batch, channels, z, y, x) at fractions (batch, points, 3), each (z, y, x) within [-1, 1].

    Points of the outermost half cell get the value at its middle. Returns (batch, channels, points).
    """
    grid = fractions.flip(-1)[:, None, None]
    return functional.grid_sample(features, grid, padding_mode="border", align_corners=False)[:, :, 0, 0]
