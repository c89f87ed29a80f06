"""Regions that numbers are asked of, as masks where results lie."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from scoreinv.config.uncertainty import Region
from scoreinv.io import Image, read_image
from scoreinv.uncertainty import ball


def region_mask(name: str, region: Region, grid: Image) -> Tensor:
    """Voxels of a region, (z, y, x) bool.

    Args:
        name: of the setting, for errors.
        region: mask or ball.
        grid: an image where results lie.

    Raises:
        ValueError: if no voxel is of it, or its mask lies elsewhere.
    """
    if region.file is None:
        assert region.centre is not None
        assert region.radius is not None
        mask = ball(grid, region.centre, region.radius)
        if not bool(mask.any()):
            raise ValueError(
                f"{name}: no voxel lies within {region.radius:g} mm of {region.centre}, expected a place (S, P, L) in "
                f"the image, which reaches from {_corner(grid, 0)} to {_corner(grid, 1)} mm"
            )
        return mask
    found = read_image(region.file)
    _check_place(f"{name}.file: {region.file}", found, grid)
    mask = found.data.real != 0 if region.label is None else found.data.real == region.label
    if not bool(mask.any()):
        raise ValueError(f"{name}: {region.file} holds no voxel of the region; check file and label")
    return mask


def _corner(grid: Image, end: int) -> tuple[float, ...]:
    """World position of the first or last voxel, mm."""
    last = (np.array(grid.data.shape) - 1) * grid.voxel_size
    return tuple(np.round(np.array(grid.origin) + end * (grid.direction @ last), 1).tolist())


def _check_place(what: str, found: Image, grid: Image) -> None:
    """That an image lies voxel by voxel where results do."""
    same = found.data.shape == grid.data.shape
    corners = [np.subtract(_corner(found, end), _corner(grid, end)) for end in (0, 1)]
    if not same or float(np.abs(corners).max()) > 0.5 * min(grid.voxel_size):
        raise ValueError(
            f"{what} has shape {tuple(found.data.shape)} from {_corner(found, 0)} to {_corner(found, 1)} mm, expected "
            f"{tuple(grid.data.shape)} from {_corner(grid, 0)} to {_corner(grid, 1)}; draw it on a result"
        )
