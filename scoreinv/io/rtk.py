"""RTK's cone-beam scans: the geometry (`rtk::ThreeDCircularProjectionGeometry`) as XML, the projections as MHA.

A view has nine numbers (mm; degrees in the file) in RTK's frame, IEC 61217's, whose axis of rotation is Y::

    R = Ry(GantryAngle) Rx(OutOfPlaneAngle) Rz(InPlaneAngle)      its columns: u, v and normal of the detector
    source           R (SourceOffsetX, SourceOffsetY, SID)        SID = SourceToIsocenterDistance
    pixel (a, b)     R (ProjectionOffsetX + a, ProjectionOffsetY + b, SID - SourceToDetectorDistance)

where (a, b) mm is where the stack's header puts a pixel along u and v. For a supine patient, head first, X is Left, Y
Superior and Z Anterior, so RTK's (X, Y, Z) is our (x, z, -y): a circular scan turns about our z too, with the angle
t = GantryAngle - 90 degrees of `ConeBeamGeometry.circular`, and u and v along its u and v.

Documentation: https://docs.openrtk.org, "3D projection geometry"; file version 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray

from scoreinv.io._metaimage import read_metaimage, write_metaimage
from scoreinv.io.atomic import atomic_pair, atomic_path, check_exists, check_suffix
from scoreinv.io.images import Image
from scoreinv.io.projections import Projections
from scoreinv.operators import ConeBeamGeometry
from scoreinv.operators.detector import euler_angles, panel

Numbers = NDArray[np.float64]

_ROOT = "RTKThreeDCircularGeometry"
_VERSIONS = ("2", "3")
_NAMES = (
    "SourceToIsocenterDistance",
    "SourceToDetectorDistance",
    "GantryAngle",
    "ProjectionOffsetX",
    "ProjectionOffsetY",
    "OutOfPlaneAngle",
    "InPlaneAngle",
    "SourceOffsetX",
    "SourceOffsetY",
)
_NEEDED = _NAMES[:3]
_ANGLES = [2, 5, 6]  # of _NAMES, in the order of R
_ALIASES = {"Angle": "GantryAngle"}
# Difference at which RTK itself says that a file's matrices are not those of its numbers.
_MATRIX = 1e-3
# Differences of views that come from rounding alone, mm or degrees.
_ROUNDING = 1e-11
# What a file holds where a view is not collimated is the largest number there is.
_OPEN = 1e300


def read_rtk_geometry(
    path: str | Path,
    detector_shape: tuple[int, int],
    pixel_size: tuple[float, float],
    detector_offset: tuple[float, float] = (0.0, 0.0),
) -> ConeBeamGeometry:
    """The scan of a geometry file, which does not know the pixels of its projections.

    Args:
        path: `.xml`.
        detector_shape: pixels (v, u).
        pixel_size: (v, u), mm.
        detector_offset: where the projections' header puts the middle of a view, (v, u) mm.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another file, version or suffix, numbers that are missing, disagree with the file's matrices or
            are none, a parallel beam, a cylindrical detector or collimated views.
    """
    size_v, size_u = pixel_size
    if not (size_v > 0 and size_u > 0):
        raise ValueError(f"read_rtk_geometry: pixel_size is {pixel_size}, expected two positive lengths (v, u) in mm")
    return _geometry(_read(path), detector_shape, np.diag([size_v, size_u]), np.array(detector_offset, dtype=float))


def write_rtk_geometry(path: str | Path, geometry: ConeBeamGeometry) -> None:
    """Write a scan as `.xml`, whole or not at all, for projections whose header puts their middle at (0, 0) mm.

    Raises:
        FileNotFoundError: if the folder does not exist.
        TypeError: for parallel beams.
        ValueError: for another suffix, or a view that RTK cannot express: pixels that are not rectangles or of another
            size than in the first view, or a source within the plane of the detector.
    """
    scan = _cone(geometry, "write_rtk_geometry")
    with atomic_path(check_suffix(path, (".xml",), "a geometry of RTK")) as temporary:
        temporary.write_text(_text(_numbers(scan)))


def read_rtk(stack: str | Path, geometry: str | Path) -> Projections:
    """Line integrals (views, v, u) and their scan.

    Args:
        stack: `.mha` of floats (u, v, views), whose header tells the pixels' size, order and place.
        geometry: `.xml`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: as `read_rtk_geometry`; for a damaged stack, integers, another rank, or views that are not as many
            as the geometry's.
    """
    path = check_exists(stack, (".mha",), "a stack of projections")
    parameters = _read(geometry)
    try:
        array, matrix, origin = read_metaimage(path)
        if array.ndim != 3 or array.dtype.kind != "f":
            raise ValueError(
                f"holds {array.dtype} along {array.ndim} axes, expected line integrals as floats (u, v, views); "
                "convert counts with rtkprojections"
            )
        if matrix[0, 1:].any() or matrix[1:, 0].any():
            raise ValueError(f"has views askew, TransformMatrix {matrix.tolist()}; expected its third axis for views")
        if len(parameters) != array.shape[2]:
            raise ValueError(f"has {array.shape[2]} views, expected the {len(parameters)} of {geometry}")
        data = torch.from_numpy(np.array(array.transpose(2, 1, 0), dtype=np.float32, order="C"))
        rows, columns = data.shape[1:]
        steps = matrix[1:, 1:]
        middle = origin[1:] + steps @ [(rows - 1) / 2, (columns - 1) / 2]
        return Projections(data, _geometry(parameters, (rows, columns), steps, middle))
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def write_rtk(projections: Projections, stack: str | Path, geometry: str | Path) -> None:
    """Write line integrals as `.mha` and their scan as `.xml`, both or none; counts are written as line integrals.

    Raises:
        FileNotFoundError: if a folder does not exist.
        TypeError: for parallel beams.
        ValueError: as `write_rtk_geometry`.
    """
    if not isinstance(projections, Projections):
        raise TypeError(f"write_rtk: projections are {type(projections).__name__}, expected io.Projections")
    scan = _cone(projections.geometry, "write_rtk")
    check_suffix(stack, (".mha",), "a stack of projections")
    check_suffix(geometry, (".xml",), "a geometry of RTK")
    text = _text(_numbers(scan))
    size_v, size_u = panel(scan, "write_rtk").pixel_size
    rows, columns = scan.detector_shape
    first = (0.0, -(rows - 1) / 2 * size_v, -(columns - 1) / 2 * size_u)
    with atomic_pair(geometry, stack) as (header, values):
        header.write_text(text)
        write_metaimage(values, Image(projections.line_integrals(), (1.0, size_v, size_u), first))


def _cone(geometry: object, name: str) -> ConeBeamGeometry:
    if not isinstance(geometry, ConeBeamGeometry):
        raise TypeError(f"{name}: geometry is {type(geometry).__name__}, expected ConeBeamGeometry")
    return geometry


def _geometry(parameters: Numbers, shape: tuple[int, int], steps: Numbers, middle: Numbers) -> ConeBeamGeometry:
    """The scan of (views, 9) numbers and a detector whose pixels step by the columns of `steps`, (v, u) mm."""
    distance, far, _, aside_u, aside_v, _, _, source_u, source_v = parameters.T
    axes = _axes(parameters)

    def on_panel(v: Numbers, u: Numbers, normal: Numbers) -> Numbers:
        return _to_zyx(np.einsum("nij,nj->ni", axes, np.stack(np.broadcast_arrays(u, v, normal), -1)))

    zero = np.zeros(len(parameters))
    sources = on_panel(source_v, source_u, distance)
    centers = on_panel(aside_v + middle[0], aside_u + middle[1], distance - far)
    step_v, step_u = (on_panel(zero + step[0], zero + step[1], zero) for step in steps.T)
    return ConeBeamGeometry(sources, centers, step_v, step_u, shape)


def _numbers(geometry: ConeBeamGeometry) -> Numbers:
    """(views, 9) numbers of a scan, in the order of _NAMES, mm and rad."""
    screen = panel(geometry, "write_rtk")
    u, v, normal = axes = tuple(_from_zyx(vectors) for vectors in (screen.u, screen.v, screen.normal))
    source, middle = _from_zyx(geometry.sources), _from_zyx(geometry.detector_centers)
    along_u, along_v, along = ((source * axis).sum(1) for axis in axes)
    far = along - (middle * normal).sum(1)
    if (np.abs(far) < 1e-6).any():
        view = int(np.flatnonzero(np.abs(far) < 1e-6)[0])
        raise ValueError(f"write_rtk: view {view} has its source within the detector's plane, expected before it")
    gantry, out_of_plane, in_plane = euler_angles((u, v, normal), "YXZ").T
    aside_u, aside_v = (middle * u).sum(1), (middle * v).sum(1)
    return np.stack([along, far, gantry, aside_u, aside_v, out_of_plane, in_plane, along_u, along_v], -1)


def _matrices(parameters: Numbers) -> Numbers:
    """RTK's projection matrices (views, 3, 4): of (X, Y, Z, 1) mm to (a w, b w, w)."""
    distance, far, _, aside_u, aside_v, _, _, source_u, source_v = parameters.T
    # Of a point seen from the source, what is along the detector's axes.
    seen = np.concatenate(
        [_axes(parameters).transpose(0, 2, 1), -np.stack([source_u, source_v, distance], -1)[..., None]], -1
    )
    onto = np.zeros((len(parameters), 3, 3))
    onto[:, 0, 0] = onto[:, 1, 1] = -far
    onto[:, :, 2] = np.stack([source_u - aside_u, source_v - aside_v, np.ones(len(parameters))], -1)
    return onto @ seen


def _axes(parameters: Numbers) -> Numbers:
    """R of every view, (views, 3, 3): columns u, v and normal of the detector in (X, Y, Z)."""
    from scipy.spatial.transform import Rotation

    matrices: Numbers = Rotation.from_euler("YXZ", parameters[:, _ANGLES]).as_matrix()
    return matrices


def _to_zyx(vectors: Numbers) -> Numbers:
    """RTK's (X, Y, Z) as our (z, y, x)."""
    return vectors[..., [1, 2, 0]] * [1.0, -1.0, 1.0]


def _from_zyx(vectors: Numbers) -> Numbers:
    """Our (z, y, x) as RTK's (X, Y, Z)."""
    return vectors[..., [2, 0, 1]] * [1.0, 1.0, -1.0]


def _read(path: str | Path) -> Numbers:
    """(views, 9) numbers in the order of _NAMES, mm and rad."""
    path = check_exists(path, (".xml",), "a geometry of RTK")
    try:
        return _parsed(path)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: damaged or not XML ({error}); copy or export it again") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parsed(path: Path) -> Numbers:
    root = ElementTree.parse(path).getroot()
    if root.tag != _ROOT or root.get("version") not in _VERSIONS:
        raise ValueError(
            f"is <{root.tag} version={root.get('version')}>, expected <{_ROOT}> of version {' or '.join(_VERSIONS)}; "
            "write it again with RTK 2"
        )
    views: list[list[float]] = []
    matrices: dict[int, Numbers] = {}
    # As RTK reads: what a view does not say is as in the view before, or as said before all of them.
    known = dict.fromkeys(_NAMES, 0.0)
    said: set[str] = set()
    for element in root:
        is_view = element.tag == "Projection"
        where, entries = (f"view {len(views)}", list(element)) if is_view else ("the scan", [element])
        for name, values in _entries(entries, where):
            if name == "Matrix":
                matrices[len(views)] = values
            else:
                known[name] = float(values[0])
                said.add(name)
        if is_view:
            missing = [name for name in _NEEDED if name not in said]
            if missing or known["SourceToDetectorDistance"] == 0:
                raise ValueError(
                    f"view {len(views)} has no {missing[0]}"
                    if missing
                    else f"view {len(views)} is a parallel beam (SourceToDetectorDistance 0), expected a cone beam"
                )
            views.append([known[name] for name in _NAMES])
    if not views:
        raise ValueError("has no <Projection>, expected one a view; write it again")
    parameters = np.array(views)
    parameters[:, _ANGLES] = np.radians(parameters[:, _ANGLES])
    computed = _matrices(parameters)
    for view, matrix in matrices.items():
        if np.abs(np.reshape(matrix, (3, 4)) - computed[view]).max() > _MATRIX:
            raise ValueError(f"view {view} has another Matrix than its numbers make; one of them was edited, mend both")
    return parameters


def _entries(elements: Iterable[ElementTree.Element], where: str) -> Iterator[tuple[str, Numbers]]:
    """The numbers that elements hold, by name; refuses what we have no counterpart of."""
    for element in elements:
        name = _ALIASES.get(element.tag, element.tag)
        try:
            values = np.array([float(word) for word in (element.text or "").split()])
        except ValueError:
            values = np.array([])
        # RTK rounds the largest number up, to one that is read as infinite.
        finite = np.isfinite(values).all() or name.startswith("Collimation")
        if len(values) != (12 if name == "Matrix" else 1) or not finite:
            raise ValueError(f"{where} has {name} {element.text!r}, expected a number, or 12 of a Matrix")
        if name == "RadiusCylindricalDetector":
            if values[0] != 0:
                raise ValueError(f"{where} has a cylindrical detector of {values[0]:g} mm, expected a flat panel")
        elif name.startswith("Collimation"):
            if not values[0] > _OPEN:
                raise ValueError(f"{where} is collimated ({name} {values[0]:g} mm), which has no counterpart; crop it")
        elif name in (*_NAMES, "Matrix"):
            yield name, values
        else:
            raise ValueError(f"{where} has {name}, expected {', '.join(_NAMES)}")


def _text(parameters: Numbers) -> str:
    """The file of (views, 9) numbers: what all views share stands before them, what is 0 nowhere."""
    root = ElementTree.Element(_ROOT, version=_VERSIONS[-1])
    matrices = _matrices(parameters)
    told = parameters.copy()
    told[:, _ANGLES] = np.degrees(told[:, _ANGLES])
    told[np.abs(told) < _ROUNDING] = 0.0
    shared = (np.abs(told - told[0]) < _ROUNDING).all(0)
    shared[_NAMES.index("GantryAngle")] = False
    for k, name in enumerate(_NAMES):
        if shared[k] and (told[0, k] != 0 or name in _NEEDED):
            ElementTree.SubElement(root, name).text = repr(float(told[0, k]))
    for view, matrix in zip(told, matrices, strict=True):
        projection = ElementTree.SubElement(root, "Projection")
        for k, name in enumerate(_NAMES):
            if not shared[k]:
                ElementTree.SubElement(projection, name).text = repr(float(view[k]))
        rows = "\n".join(" ".join(repr(float(value)) for value in row) for row in matrix)
        ElementTree.SubElement(projection, "Matrix").text = f"\n{rows}\n"
    ElementTree.indent(root)
    declared = '<?xml version="1.0"?>\n<!DOCTYPE RTKGEOMETRY>\n'
    return f"{declared}{ElementTree.tostring(root, encoding='unicode')}\n"
