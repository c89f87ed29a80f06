"""Stored trajectories of ISMRMRD files in rad per voxel; the format leaves their unit open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scoreinv.io._mrd_header import Encoding

# How far a trajectory reaches, as a fraction of the edge of k-space, when its unit is understood. It does not quite
# arrive when the last sample stops one step short, and passes when ramps are sampled too.
_LEAST_REACH, _MOST_REACH = 0.9, 1.05
# Two units that differ by less say the same.
_SAME = 1e-3


def units(encoding: Encoding) -> dict[str, NDArray[np.float64]]:
    """Rad per voxel, along (z, y, x), of one in each unit; voxel and matrix are those of the encoded space."""
    voxel, matrix = np.asarray(encoding.voxel_size), np.asarray(encoding.matrix)
    cycle = 2 * np.pi
    return {
        "1/voxel": np.full(3, cycle),
        "rad/voxel": np.ones(3),
        "1/fov": cycle * voxel / np.asarray(encoding.recon_field_of_view),
        "1/encoded_fov": cycle / matrix,
        "1/mm": cycle * voxel,
        "1/m": cycle * voxel * 1e-3,
    }


def rad_per_voxel(stored: NDArray[np.float32], encoding: Encoding, unit: str | None) -> NDArray[np.float32]:
    """Stored coordinates (..., d), (kx, ky) or (kx, ky, kz), as (..., d) rad per voxel in (y, x) or (z, y, x) order.

    Without a unit, the one is taken with which the trajectory reaches 0.9 to 1.05 of the edge of the encoded k-space,
    pi per voxel, along every axis, or else along any. What lies beyond pi is taken a turn back, which is the same
    frequency on a grid of voxels.

    Raises:
        ValueError: for an unknown unit, if none or several fit, or the given one leads beyond 1.05 pi.
    """
    d = stored.shape[-1]
    known = {name: factors[3 - d :] for name, factors in units(encoding).items()}
    turned = stored[..., ::-1].astype(np.float64)
    extent = np.abs(turned).reshape(-1, d).max(axis=0)
    reach = {name: extent * factors / np.pi for name, factors in known.items()}
    if unit is None:
        unit = _fitting(reach, known)
    elif unit not in known:
        raise ValueError(f"trajectory_unit is {unit!r}, expected one of {', '.join(known)}")
    elif reach[unit].max() > _MOST_REACH:
        raise ValueError(
            f"trajectory_unit {unit!r} leads to {reach[unit].max() * np.pi:.4g} rad per voxel, expected at most pi; "
            f"pass another of {', '.join(known)}"
        )
    k = turned * known[unit]
    k = np.where(np.abs(k) > np.pi, k - np.copysign(2 * np.pi, k), k).astype(np.float32)
    rounded: NDArray[np.float32] = np.clip(k, -np.float32(np.pi), np.float32(np.pi))
    return rounded


def _fitting(reach: dict[str, NDArray[np.float64]], known: dict[str, NDArray[np.float64]]) -> str:
    fitting = [name for name, part in reach.items() if _LEAST_REACH <= part.max() <= _MOST_REACH]
    # Where the readout is oversampled, "1/fov" and "1/encoded_fov" reach the edge of y alike, but not that of x.
    fitting = [name for name in fitting if reach[name].min() >= _LEAST_REACH] or fitting
    if not fitting or not all(np.allclose(known[name], known[fitting[0]], rtol=_SAME) for name in fitting):
        raise ValueError(
            f"trajectory reaches {reach['rad/voxel'].max() * np.pi:.4g}, whose unit could be "
            f"{' or '.join(fitting) or 'none known'}; pass trajectory_unit, one of {', '.join(known)}"
        )
    return fitting[0]
