"""Volumes small enough to travel within a page: bytes of a known range, compressed."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import torch
from torch import Tensor

MOST_BYTES = 32 * 2**20  # of all volumes of a page, before compression; a browser holds them as they are


def packed(values: Tensor, low: float, high: float) -> str:
    """Base64 of zlib's compression of 256 levels from `low` to `high`, (z, y, x) in C order; beyond them, clipped."""
    width = high - low if high > low else 1.0  # of an image of one value
    levels = ((values.double() - low) * (255 / width)).round().clamp(0, 255)
    return base64.b64encode(zlib.compress(levels.to(torch.uint8).cpu().numpy().tobytes(), 6)).decode("ascii")


def fewer(shape: tuple[int, int, int], voxel_size: tuple[float, float, float], volumes: int) -> tuple[int, int, int]:
    """How many voxels (z, y, x) to average into one, so that so many volumes stay below `MOST_BYTES`.

    The axis of the smallest voxels is halved first: coarser voxels become nearly cubes.
    """
    factors = [1, 1, 1]
    while volumes * np.prod([-(-n // f) for n, f in zip(shape, factors, strict=True)]) > MOST_BYTES:
        sizes = [size * f if n > f else np.inf for n, size, f in zip(shape, voxel_size, factors, strict=True)]
        factors[int(np.argmin(sizes))] *= 2
    return factors[0], factors[1], factors[2]


def averaged(values: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Means over blocks of so many voxels (z, y, x); the last block of an axis may be smaller."""
    pool = torch.nn.functional.avg_pool3d
    return pool(values[None, None], factors, ceil_mode=True, count_include_pad=False)[0, 0]
