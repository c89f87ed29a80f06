"""Features of points from learned lattices, fine ones kept in tables by a hash."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_PRIMES = (805_459_861, 2_654_435_761, 1)  # of the coordinates (z, y, x); Müller et al. 2022, eq. 4
_SPREAD = 0.1  # of the features before training; published is 1e-4


class HashGrid(nn.Module):
    """Multi-resolution hash encoding: features at lattice nodes, interpolated trilinearly and laid side by side.

    A lattice with no more nodes than the table has entries keeps one entry a node. In a finer one node (z, y, x) has
    entry (z p_1 xor y p_2 xor x) mod entries; nodes that meet in one entry share it, and training settles what it
    holds. Müller, Evans, Schied and Keller 2022, ACM Trans. Graph. 41:102, section 3 and eq. 4.

    Args:
        shapes: nodes (z, y, x) of each level; the first and last of an axis lie on the ends of the box.
        features: numbers a node holds.
        entries: most entries of one level.

    Raises:
        ValueError: if a level has fewer than 2 nodes along an axis.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], features: int = 2, entries: int = 2**19) -> None:
        super().__init__()
        if not shapes or min(min(shape) for shape in shapes) < 2:
            raise ValueError(f"HashGrid: shapes is {list(shapes)}, expected at least 2 nodes along every axis")
        self.shapes = tuple(shapes)
        # A level is a volume (features, z, y, x) where each node has an entry, else a table (features, entries).
        self.levels = nn.ParameterList(
            nn.Parameter(_SPREAD * (2 * torch.rand(features, *(s if math.prod(s) <= entries else (entries,))) - 1))
            for s in self.shapes
        )

    @property
    def width(self) -> int:
        """Number of features of a point."""
        return sum(len(level) for level in self.levels)

    def forward(self, points: Tensor) -> Tensor:
        """(points, width) features of points (points, 3), each (z, y, x) in [0, 1] of the box."""
        found = []
        for level, shape in zip(self.levels, self.shapes, strict=True):
            found.append(_dense(level, points) if level.ndim == 4 else _hashed(level, shape, points))
        return torch.cat(found, 1)


def _dense(level: Tensor, points: Tensor) -> Tensor:
    at = (2 * points - 1).flip(-1)[None, :, None, None]  # x first, from -1 to 1
    return functional.grid_sample(level[None], at, align_corners=True)[0, :, :, 0, 0].T


def _hashed(level: Tensor, shape: tuple[int, int, int], points: Tensor) -> Tensor:
    last = points.new_tensor(shape) - 1
    place = points * last
    low = torch.minimum(place.floor(), last - 1)
    fraction, low = place - low, low.long()
    primes = torch.tensor(_PRIMES, device=points.device)
    found = torch.zeros(len(points), len(level), dtype=level.dtype, device=level.device)
    for corner in range(8):
        step = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=points.device)
        z, y, x = ((low + step) * primes).unbind(-1)
        entry = (z ^ y ^ x) % level.shape[1]
        weight = torch.where(step == 1, fraction, 1 - fraction).prod(-1)
        found = found + level.T[entry] * weight[:, None]
    return found
