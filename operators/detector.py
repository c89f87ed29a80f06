"""A cone beam's detector as other programs describe one: a rigid panel of rectangular pixels, alike in all views."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoreinv.operators.geometry import ConeBeamGeometry, Vectors

# Of a pixel's edge: what positions rounded to float32 are off by at least.
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Panel:
    """Size and orientation of a detector.

    Attributes:
        pixel_size: (v, u), mm.
        u, v, normal: (views, 3) unit vectors (z, y, x) along a row, along a column, and along u x v.
    """

    pixel_size: tuple[float, float]
    u: Vectors
    v: Vectors
    normal: Vectors


def panel(geometry: ConeBeamGeometry, whose: str) -> Panel:
    """The panel of a scan.

    Args:
        geometry: whose views may turn and shift the panel in any way.
        whose: who asks for it, to begin an error with.

    Raises:
        ValueError: for a view whose pixels are not rectangles, or of another size than in the first view.
    """
    sizes = np.stack([np.linalg.norm(steps, axis=1) for steps in (geometry.v_steps, geometry.u_steps)], axis=-1)
    if (sizes == 0).any():
        raise ValueError(f"{whose}: view {_first((sizes == 0).any(1))} has pixels of no extent, expected rectangles")
    v, u = geometry.v_steps / sizes[:, :1], geometry.u_steps / sizes[:, 1:]
    cosines = (u * v).sum(1)
    slanted = np.abs(cosines) > _TOLERANCE
    if slanted.any():
        view = _first(slanted)
        raise ValueError(
            f"{whose}: view {view} has rows and columns at {np.degrees(np.arccos(cosines[view])):.4f} degrees, "
            "expected 90; resample its projections onto rectangular pixels"
        )
    changed = (np.abs(sizes - sizes[0]) > _TOLERANCE * sizes[0]).any(1)
    if changed.any():
        view = _first(changed)
        got, expected = ("{:.7g} x {:.7g} mm".format(*sizes[k]) for k in (view, 0))
        raise ValueError(
            f"{whose}: view {view} has pixels (v, u) of {got}, expected {expected} as in view 0; resample it"
        )
    size_v, size_u = sizes.mean(0).tolist()
    # Components are (z, y, x), where the right-handed product changes its sign.
    return Panel((size_v, size_u), u, v, np.cross(v, u))


def euler_angles(columns: tuple[Vectors, Vectors, Vectors], order: str) -> Vectors:
    """Angles (views, 3), rad, of the rotations that take x, y, z to these unit vectors, each (views, 3) in (x, y, z).

    Args:
        columns: what x, y and z become; right-handed.
        order: axes of the turns as scipy's `Rotation` has them, capital letters about the axes that turned along.
    """
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        # Where two of the turns are about one line, scipy warns, and gives both to the first: as good as any.
        warnings.filterwarnings("ignore", "Gimbal lock", UserWarning)
        angles: Vectors = Rotation.from_matrix(np.stack(columns, -1)).as_euler(order)
    return angles


def _first(views: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(views)[0])
