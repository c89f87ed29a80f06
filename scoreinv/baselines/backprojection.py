"""Voxel-driven back-projection: every voxel reads the projections where its centre casts its shadow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry, Volume


def backproject(
    projections: NDArray[np.float32], geometry: ConeBeamGeometry | ParallelBeamGeometry, volume: Volume
) -> NDArray[np.float32]:
    """Sum over views of p(v, u) / s^2 at each voxel, read bilinearly, 0 outside the detector.

    s is the depth of the voxel behind the source as a fraction of the detector's depth; 1 for parallel rays. This is
    the back-projection of analytic formulas, not the transpose of a projector.

    Args:
        projections: (views, v, u).
        geometry: of the projections; any orbit.
        volume: where to read.

    Returns:
        (z, y, x), unit of the projections.
    """
    # A border of zeros lets a shadow on the detector's rim be read without a case for every side.
    padded = np.pad(projections.astype(np.float32, copy=False), ((0, 0), (1, 1), (1, 1)))
    rows = _shadow_matrices(geometry)
    first, step = volume.first_voxel, np.diag(volume.voxel_size)
    start = np.ascontiguousarray(rows[:, :, :3] @ first + rows[:, :, 3])
    out = np.empty(volume.shape, dtype=np.float32)
    step = np.ascontiguousarray(rows[:, :, :3] @ step)
    kernel = _kernel()
    # The kernel releases the GIL. Threads of Python's own, because numba's do not survive a fork.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda z: kernel(padded, start, step, out, z), range(len(out))))
    return out


def _shadow_matrices(geometry: ConeBeamGeometry | ParallelBeamGeometry) -> NDArray[np.float64]:
    """(views, 3, 4): point (z, y, x, 1) -> (s, s i, s j), with (i, j) counted from the border added to the detector."""
    n_v, n_u = geometry.detector_shape
    corner = geometry.detector_centers - (n_v + 1) / 2 * geometry.v_steps - (n_u + 1) / 2 * geometry.u_steps
    if isinstance(geometry, ConeBeamGeometry):
        # point = source + s (corner - source + i v + j u)
        basis = np.stack([corner - geometry.sources, geometry.v_steps, geometry.u_steps], -1)
        origin = geometry.sources
    else:
        # point = corner + t direction + i v + j u, and s = 1
        basis = np.stack([geometry.directions, geometry.v_steps, geometry.u_steps], -1)
        origin = corner
    inverse = np.linalg.inv(basis)
    matrices = np.concatenate([inverse, -inverse @ origin[:, :, None]], -1)
    if isinstance(geometry, ParallelBeamGeometry):
        matrices[:, 0] = (0.0, 0.0, 0.0, 1.0)
    return matrices


@cache
def _kernel() -> Any:
    import numba

    @numba.njit(nogil=True, fastmath=True, cache=True)
    def backproject_slice(padded, start, step, out, z):  # type: ignore[no-untyped-def]
        views, n_v, n_u = padded.shape
        _, n_y, n_x = out.shape
        for y in range(n_y):
            total = np.zeros(n_x, dtype=np.float32)
            for view in range(views):
                p = padded[view]
                a, b = start[view], step[view]
                s0 = a[0] + z * b[0, 0] + y * b[0, 1]
                i0 = a[1] + z * b[1, 0] + y * b[1, 1]
                j0 = a[2] + z * b[2, 0] + y * b[2, 1]
                ds, di, dj = b[0, 2], b[1, 2], b[2, 2]
                for x in range(n_x):
                    inverse = 1.0 / (s0 + x * ds)
                    fi, fj = (i0 + x * di) * inverse, (j0 + x * dj) * inverse
                    if inverse > 0 and 0 <= fi < n_v - 1 and 0 <= fj < n_u - 1:
                        i, j = int(fi), int(fj)
                        wi, wj = np.float32(fi - i), np.float32(fj - j)
                        upper = p[i, j] + wj * (p[i, j + 1] - p[i, j])
                        lower = p[i + 1, j] + wj * (p[i + 1, j + 1] - p[i + 1, j])
                        total[x] += np.float32(inverse * inverse) * (upper + wi * (lower - upper))
            out[z, y] = total

    return backproject_slice
