"""TIGRE's cone-beam geometry here, ours there (TIGRE 3, Biguri et al., Biomed. Phys. Eng. Express 2 (2016) 055010).

TIGRE turns the source about z: at angle alpha it stands at DSO (cos alpha, sin alpha), the detector's u runs along
(-sin alpha, cos alpha) and v along +z. Angles, their sense and the order of all axes, (z, y, x) and (v, u), are ours.
A scan is, view by view, in mm and rad::

    source           E (DSO, 0, 0)                                   + COR (-sin alpha, cos alpha, 0)
    pixel (v, u)     E (DSO - DSD + R (0, u, v) + offDetector)       + COR (-sin alpha, cos alpha, 0)
    middle of image  offOrigin

with E the rotation of the angles (alpha about z; three angles are Euler's z, y, z) and R = Rz Ry Rx that of
`rotDetector` (about x, y, z). What we write:

- an upright detector (v along z, facing the source): its u gives alpha, and what the source stands off it is COR;
- a tilted one: the source gives alpha, COR is 0, and `rotDetector` holds the tilt;
- TIGRE's source is at z = 0: where ours is not, the image moves instead, by `offOrigin` of each view. So a helix, and
  any other scan of one rigid detector, can be told. TIGRE's projectors honour all of this, its FDK is for circles.

TIGRE computes in float32, so its own rays lie some 1e-4 mm from those told here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoreinv.operators.detector import euler_angles, panel
from scoreinv.operators.geometry import ConeBeamGeometry, Volume

_XYZ = [2, 1, 0]  # reverses (z, y, x) and back
_UPRIGHT = 1e-9  # sine of the tilt that is none
_SIZES = 1e-6  # mm, as TIGRE compares them
_MANDATORY = ("nVoxel", "sVoxel", "dVoxel", "nDetector", "sDetector", "dDetector", "DSO", "DSD")


def to_tigre(geometry: ConeBeamGeometry, volume: Volume) -> tuple[Any, NDArray[np.float64]]:
    """A scan and its image for TIGRE: `tigre.Ax(x.numpy(), *to_tigre(geometry, volume))`, on an NVIDIA GPU.

    Returns:
        (geo, angles): a `tigre.geometry()`, or, where TIGRE is not installed, an object of the same attributes; and
        (views,) rad. What does not change from view to view is a number or a vector, the rest one a view.

    Raises:
        TypeError: for another geometry than a cone beam.
        ValueError: for a view that TIGRE cannot express: pixels that are not rectangles or of another size than in the
            first view, or a source on the axis, from which the angle is to be known.
    """
    if not isinstance(geometry, ConeBeamGeometry):
        raise TypeError(f"to_tigre: geometry is {type(geometry).__name__}, expected ConeBeamGeometry")
    screen = panel(geometry, "to_tigre")
    u, v, normal = (vectors[:, _XYZ] for vectors in (screen.u, screen.v, screen.normal))
    source, middle = geometry.sources[:, _XYZ], geometry.detector_centers[:, _XYZ]

    upright = (np.hypot(v[:, 0], v[:, 1]) < _UPRIGHT) & (v[:, 2] > 0) & ((normal * source).sum(1) > 0)
    onto_axis = ~upright & (np.hypot(source[:, 0], source[:, 1]) < _UPRIGHT)
    if onto_axis.any():
        view = int(np.flatnonzero(onto_axis)[0])
        raise ValueError(
            f"to_tigre: view {view} has its source at (x, y) = {source[view, :2].tolist()} mm, expected off the axis "
            "of rotation, whose angle TIGRE asks for; describe the scan about another axis"
        )
    facing = np.where(upright[:, None], np.stack([u[:, 1], -u[:, 0]], -1), source[:, :2])
    angles = np.unwrap(np.arctan2(facing[:, 1], facing[:, 0]))
    turn = _rotation("z", angles[:, None]).inv()
    source, middle = turn.apply(source), turn.apply(middle)
    tilts = euler_angles((turn.apply(normal), turn.apply(u), turn.apply(v)), "ZYX")

    geo = _empty()
    geo.mode = "cone"
    geo.accuracy = 0.5  # voxels a sample, of TIGRE's "interpolated" projector
    geo.nVoxel, geo.dVoxel = np.array(volume.shape), np.array(volume.voxel_size)
    geo.sVoxel = geo.nVoxel * geo.dVoxel
    geo.nDetector, geo.dDetector = np.array(geometry.detector_shape), np.array(screen.pixel_size)
    geo.sDetector = geo.nDetector * geo.dDetector
    geo.DSO = _constant(source[:, 0])
    geo.DSD = _constant(source[:, 0] - middle[:, 0])
    geo.COR = _constant(source[:, 1])
    geo.offDetector = _constant(np.stack([middle[:, 2] - source[:, 2], middle[:, 1] - source[:, 1]], -1))
    geo.offOrigin = _constant(np.array(volume.center) - source[:, 2:] * [1.0, 0.0, 0.0])
    geo.rotDetector = _constant(np.where(upright[:, None], 0.0, tilts)[:, ::-1])
    return geo, angles


def from_tigre(geo: Any, angles: ArrayLike) -> tuple[ConeBeamGeometry, Volume]:
    """A scan and its image from TIGRE.

    Where `offOrigin` moves from view to view, as on TIGRE's helices, the image stays and the scanner moves; the image's
    middle is then halfway between its extremes.

    Args:
        geo: a `tigre.geometry()` of a cone beam, or any object of its attributes.
        angles: (views,), or (views, 3) Euler angles about z, y, z; rad.

    Raises:
        ValueError: for a parallel beam, missing attributes, sizes that disagree, a detector before the axis, or arrays
            of another shape.
    """
    missing = [name for name in _MANDATORY if not hasattr(geo, name)]
    if missing:
        raise ValueError(f"from_tigre: geometry lacks {', '.join(missing)}; see TIGRE's d01_CreateGeometry")
    if getattr(geo, "mode", None) not in (None, "cone"):
        raise ValueError(f"from_tigre: mode is {geo.mode!r}, expected 'cone'; ParallelBeamGeometry has its own angles")
    euler = np.asarray(angles, dtype=np.float64)
    euler = euler[:, None] * [1.0, 0.0, 0.0] if euler.ndim == 1 else euler
    if euler.ndim != 2 or euler.shape[1] != 3 or not euler.size:
        raise ValueError(f"from_tigre: angles have shape {np.shape(angles)}, expected (views,) or (views, 3) in rad")
    views = len(euler)
    for name, length in (("Voxel", 3), ("Detector", 2)):
        n, d, s = (np.asarray(getattr(geo, letter + name), dtype=np.float64) for letter in "nds")
        if not n.shape == d.shape == s.shape == (length,) or np.abs(n * d - s).max() > _SIZES * max(1.0, s.max()):
            raise ValueError(
                f"from_tigre: n{name} * d{name} is {n} * {d}, expected s{name} = {s}, each of {length} numbers"
            )
    distance, far, correction = (_each_view(geo, name, views, ()) for name in ("DSO", "DSD", "COR"))
    shift, off, tilt = (
        _each_view(geo, name, views, (n,)) for name, n in (("offDetector", 2), ("offOrigin", 3), ("rotDetector", 3))
    )
    if not (far > distance).all() or not (distance > 0).all():
        raise ValueError(
            f"from_tigre: DSO is {geo.DSO} and DSD {geo.DSD} mm, expected the detector beyond the axis, 0 < DSO < DSD"
        )
    zero = np.zeros(views)
    turn, panels = _rotation("ZYZ", euler), _rotation("ZYX", tilt[:, ::-1])
    aside = correction[:, None] * np.stack([-np.sin(euler[:, 0]), np.cos(euler[:, 0]), zero], -1)
    center = (off.min(0) + off.max(0)) / 2
    aside += (center - off)[:, _XYZ]
    sources = turn.apply(np.stack([distance, zero, zero], -1)) + aside
    middles = turn.apply(np.stack([distance - far, shift[:, 1], shift[:, 0]], -1)) + aside
    rows, columns = (int(n) for n in geo.nDetector)
    size_v, size_u = (float(size) for size in geo.dDetector)
    u, v = (turn.apply(panels.apply(axis)) for axis in ([0.0, size_u, 0.0], [0.0, 0.0, size_v]))
    geometry = ConeBeamGeometry(sources[:, _XYZ], middles[:, _XYZ], v[:, _XYZ], u[:, _XYZ], (rows, columns))
    slices, lines, columns = (int(n) for n in geo.nVoxel)
    depth, height, width = (float(size) for size in geo.dVoxel)
    z, y, x = center.tolist()
    return geometry, Volume((slices, lines, columns), (depth, height, width), (z, y, x))


def _empty() -> Any:
    try:
        from tigre import geometry  # of CERN; the package of this name on PyPI is another's
    except ImportError:
        return SimpleNamespace(mode=None, n_proj=None, angles=None, filter=None)
    return geometry()


def _rotation(axes: str, angles: NDArray[np.float64]) -> Any:
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler(axes, angles)


def _constant(values: NDArray[np.float64]) -> Any:
    """The value of all views if it is one, else (views, ...). What rounding left of 0 is 0, as TIGRE asks whether."""
    values = np.where(np.abs(values) < 1e-9, 0.0, values)
    if np.abs(values - values[0]).max() > 1e-9:
        return values
    return float(values[0]) if values.ndim == 1 else values[0]


def _each_view(geo: Any, name: str, views: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """An attribute of TIGRE's, one for all views or one a view and 0 where it is not set, as (views, *shape)."""
    values = np.asarray(getattr(geo, name, np.zeros(shape)), dtype=np.float64)
    if values.shape == (1,) and not shape:
        values = values[0]
    if values.shape not in (shape, (views, *shape)) or not np.isfinite(values).all():
        expected = "a number or (views,)" if not shape else f"({shape[0]},) or (views, {shape[0]})"
        raise ValueError(
            f"from_tigre: {name} has shape {values.shape} for {views} views, expected {expected} finite numbers"
        )
    return np.broadcast_to(values, (views, *shape)).copy()
