"""Points along the rays of a scan, for integrals of a field that is known at any point."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators.geometry import Rays, Volume


class RaySamples:
    """The parts of rays that lie within a volume's box, and points along them.

    Args:
        rays: of a scan, mm.
        volume: its box, rim to rim, bounds the field.

    Attributes:
        crossing: (rays,) numbers of the rays that cross the box, in the order of the flattened measurements.
        lengths: (rays,) of their parts within it, mm.
    """

    def __init__(self, rays: Rays, volume: Volume) -> None:
        start, step = _ends(rays)
        low, high = volume.corners.min(0), volume.corners.max(0)
        # Where a ray start + t step passes the two planes of each axis; one parallel to them passes at -inf and inf,
        # or never enters.
        with np.errstate(divide="ignore", invalid="ignore"):
            passes = np.stack([(low - start) / step, (high - start) / step])
        entry = np.nanmax(passes.min(0), axis=1).clip(0, 1)
        leave = np.nanmin(passes.max(0), axis=1).clip(0, 1)
        self.crossing = torch.from_numpy(np.flatnonzero(leave > entry))
        kept = self.crossing.numpy()
        begin = (start[kept] + entry[kept, None] * step[kept] - low) / (high - low)
        along = (leave - entry)[kept, None] * step[kept]
        self._begin = torch.from_numpy(begin).float()
        self._along = torch.from_numpy(along / (high - low)).float()
        self.lengths = torch.from_numpy(np.linalg.norm(along, axis=1)).float()

    def points(self, chosen: Tensor, number: int) -> Tensor:
        """One point at random within each of `number` equal pieces of chosen rays.

        The mean of a field over them, times the length of the ray, has its line integral for expectation.

        Args:
            chosen: (n,) which of the `crossing`.
            number: of points on each.

        Returns:
            (n, number, 3), each (z, y, x) in [0, 1] of the box.
        """
        jitter = torch.rand(len(chosen), number)
        t = (torch.arange(number) + jitter)[..., None] / number
        return (self._begin[chosen, None] + t * self._along[chosen, None]).clamp(0, 1)


def _ends(rays: Rays) -> tuple[np.ndarray, np.ndarray]:
    """Starts of all rays, and the ways to their ends, (views v u, 3) mm."""
    _, rows, columns = rays.shape
    i, j = np.arange(rows)[:, None, None], np.arange(columns)[:, None]

    def points(corner: np.ndarray, v: np.ndarray, u: np.ndarray) -> np.ndarray:
        grid = corner[:, None, None] + i * v[:, None, None] + j * u[:, None, None]
        return grid.reshape(math.prod(rays.shape), 3)

    start = points(rays.start, rays.start_v, rays.start_u)
    return start, points(rays.end, rays.end_v, rays.end_u) - start
