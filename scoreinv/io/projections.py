"""CT projections: the package's own HDF5 file, and raw parallel-beam scans in DataExchange HDF5.

The package's file, format version 1 (lengths in mm, vectors (z, y, x) in the frame of the volume)::

    /                          attributes  format = "scoreinv-projections", format_version = 1
    /data                      (views, v, u) float32;  attribute kind = "line_integrals" (dimensionless) or "counts"
    /photons                   float64 scalar, or float32 array that broadcasts to (views, v, u): counts expected
                               without an object; absent when unknown
    /geometry                  attribute  type = "cone_beam" or "parallel_beam"
    /geometry/sources          (views, 3) float64, source positions, mm (cone_beam)
    /geometry/directions       (views, 3) float64, unit vectors along the rays (parallel_beam)
    /geometry/detector_centers (views, 3) float64, middle of the detector, mm
    /geometry/v_steps          (views, 3) float64, from one pixel to the next along a column, mm
    /geometry/u_steps          (views, 3) float64, from one pixel to the next along a row, mm

DataExchange: De Carlo et al., "Scientific data exchange: a schema for HDF5-based storage of raw and analyzed data",
J. Synchrotron Rad. 21 (2014) 1224-1230.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from scoreinv.io.atomic import atomic_path, check_suffix
from scoreinv.io.hdf5 import dataset, item, open_hdf5
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry

SUFFIXES = (".h5", ".hdf5", ".hdf")
FORMAT = "scoreinv-projections"
FORMAT_VERSION = 1
_GEOMETRIES: dict[str, type[ConeBeamGeometry] | type[ParallelBeamGeometry]] = {
    "cone_beam": ConeBeamGeometry,
    "parallel_beam": ParallelBeamGeometry,
}
_VECTORS = {
    "cone_beam": ("sources", "detector_centers", "v_steps", "u_steps"),
    "parallel_beam": ("directions", "detector_centers", "v_steps", "u_steps"),
}
_KINDS = ("line_integrals", "counts")
_RADIANS = {
    "degrees": np.pi / 180,
    "degree": np.pi / 180,
    "deg": np.pi / 180,
    "radians": 1.0,
    "radian": 1.0,
    "rad": 1.0,
}
# A signal at or below the dark current is taken as this many counts.
_LEAST_COUNTS = 0.5
# Opposite views compared at most; a scan of a full turn has thousands that say the same.
_MOST_PAIRS = 32

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Projections:
    """What a CT scanner measured, and where its rays ran.

    Args:
        data: (views, v, u), float32, finite.
        geometry: of the same (views, v, u).
        kind: "line_integrals" (dimensionless) or "counts" (pre-log, not negative).
        photons: counts expected without an object, a number or a float32 tensor that broadcasts to (views, v, u);
            needed for counts, None where unknown.

    Raises:
        TypeError: if data or photons are not float32.
        ValueError: if shapes disagree, for NaN, Inf or negative counts, for another kind, or counts without photons.
    """

    data: Tensor
    geometry: ConeBeamGeometry | ParallelBeamGeometry
    kind: Literal["line_integrals", "counts"] = "line_integrals"
    photons: float | Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"Projections: kind is {self.kind!r}, expected one of {', '.join(_KINDS)}")
        if self.kind == "counts" and self.photons is None:
            raise ValueError("Projections: counts without photons; pass the counts expected without an object")
        if tuple(self.data.shape) != self.geometry.shape:
            raise ValueError(
                f"Projections: data has shape {tuple(self.data.shape)}, expected (views, v, u) = {self.geometry.shape} "
                "of the geometry; pass the angles of every view and the detector's own shape"
            )
        _check_values(self.data, "data", non_negative=self.kind == "counts")
        if isinstance(self.photons, Tensor) and self.photons.ndim > 0:
            self._check_photon_map(self.photons)
        elif self.photons is not None:
            object.__setattr__(self, "photons", float(self.photons))
            if not 0 < float(self.photons) < np.inf:
                raise ValueError(f"Projections: photons is {self.photons}, expected a positive number of counts")

    def line_integrals(self) -> Tensor:
        """The data as line integrals, (views, v, u): counts as -log(counts / photons), of half a count at least.

        0 where no photons were to be expected, at dead pixels.
        """
        if self.kind == "line_integrals":
            return self.data
        photons = torch.as_tensor(self.photons)
        return torch.where(photons > 0, -torch.log(self.data.clamp(min=_LEAST_COUNTS) / photons), 0.0)

    def _check_photon_map(self, photons: Tensor) -> None:
        shape = self.geometry.shape
        aligned = zip(photons.shape[::-1], shape[::-1], strict=False)
        if photons.ndim > 3 or any(n not in (1, m) for n, m in aligned):
            raise ValueError(
                f"Projections: photons has shape {tuple(photons.shape)}, expected one that broadcasts to {shape}"
            )
        _check_values(photons, "photons", non_negative=True)


def write_projections(path: str | Path, projections: Projections, compression: int = 1) -> None:
    """Write the HDF5 file described at the top of this module, whole or not at all; an existing file is replaced.

    Args:
        path: `.h5`, `.hdf5` or `.hdf`.
        projections: what to write; nothing is rounded.
        compression: gzip level, 0 (none) to 9.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: for another suffix or compression level.
    """
    path = check_suffix(path, SUFFIXES, "an HDF5 file")
    if compression not in range(10):
        raise ValueError(f"write_projections: compression is {compression}, expected a gzip level from 0 to 9")
    import h5py

    packed: dict[str, Any] = {"compression": "gzip", "compression_opts": compression, "shuffle": True}
    geometry = projections.geometry
    name = "cone_beam" if isinstance(geometry, ConeBeamGeometry) else "parallel_beam"
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        # One view a chunk, so that views can be read alone.
        chunks = {"chunks": (1, *geometry.detector_shape), **packed} if compression else {}
        file.create_dataset("data", data=_numpy(projections.data), **chunks).attrs["kind"] = projections.kind
        if isinstance(projections.photons, Tensor):
            file.create_dataset("photons", data=_numpy(projections.photons), **(packed if compression else {}))
        elif projections.photons is not None:
            file.create_dataset("photons", data=projections.photons)
        group = file.create_group("geometry")
        group.attrs["type"] = name
        for field in _VECTORS[name]:
            group.create_dataset(field, data=getattr(geometry, field))


def read_projections(path: str | Path) -> Projections:
    """Read a file of `write_projections`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another suffix or format, a damaged file, a missing dataset, sizes that disagree, or NaN.
    """
    with open_hdf5(path, SUFFIXES) as file:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(
                f"format is {file.attrs.get('format')!r}, expected {FORMAT!r}; a raw scan is read by read_data_exchange"
            )
        version = file.attrs.get("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(f"format_version is {version}, expected {FORMAT_VERSION}; update scoreinv")
        data = dataset(file, "data")
        name = item(file, "geometry").attrs.get("type")
        if name not in _GEOMETRIES:
            raise ValueError(f"geometry type is {name!r}, expected one of {', '.join(_GEOMETRIES)}; write it again")
        vectors = {field: dataset(file, f"geometry/{field}")[:] for field in _VECTORS[name]}
        geometry = _GEOMETRIES[name](**vectors, detector_shape=data.shape[1:])
        photons = dataset(file, "photons")[()] if "photons" in file else None
        if isinstance(photons, np.ndarray):
            photons = torch.from_numpy(photons)
        return Projections(torch.from_numpy(data[:]), geometry, data.attrs.get("kind"), photons)


def read_data_exchange(path: str | Path, rotation_center: float | None = None, pixel_size: float = 1.0) -> Projections:
    """Line integrals of a raw parallel-beam scan in DataExchange HDF5.

    Flats and darks are averaged over their frames, and `l = -log((data - dark) / (white - dark))`. Where `data - dark`
    or `white - dark` is below half a count (an opaque object, a dead pixel), it is taken as half a count, and the
    number of such values is logged: an opaque ray gets `log(2 (white - dark))`, a dead pixel 0.

    The file's theta is taken as the angle t of `ParallelBeamGeometry.circular`, row r as v = r and column c as u = c:
    the format fixes neither the sense of rotation nor which row is up, so the image may be a mirror image.

    Args:
        path: HDF5 with `/exchange/data` (views, rows, columns), `/exchange/data_white` and `/exchange/data_dark`
            (frames, rows, columns), all in counts, and `/exchange/theta` (views,), in degrees unless its attribute
            `units` says radians.
        rotation_center: column, counted from 0 and not necessarily whole, onto which the axis of rotation projects;
            None finds it by `find_rotation_center`.
        pixel_size: edge of a detector pixel, mm. Left at 1, attenuation comes out per pixel.

    Returns:
        Line integrals (views, rows, columns), dimensionless, with the axis at (y, x) = 0.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file, a missing dataset, sizes that disagree, NaN or Inf, a beam that is nowhere
            brighter than the dark frames, or a rotation centre that cannot be found.
    """
    if not 0 < pixel_size < np.inf:
        raise ValueError(f"read_data_exchange: pixel_size is {pixel_size}, expected a positive length in mm")
    with open_hdf5(path, SUFFIXES) as file:
        raw = dataset(file, "exchange/data")
        if raw.ndim != 3:
            raise ValueError(f"/exchange/data has shape {raw.shape}, expected (views, rows, columns)")
        white, dark = (_mean_frame(dataset(file, f"exchange/{name}"), raw) for name in ("data_white", "data_dark"))
        angles = _angles(dataset(file, "exchange/theta"), len(raw))
        data = torch.from_numpy(_line_integrals(raw[:], white, dark, path))
        _check_values(data, "line integrals")
        if rotation_center is None:
            rotation_center = find_rotation_center(data, angles)
        rows, columns = data.shape[1:]
        if not 0 <= rotation_center <= columns - 1:
            raise ValueError(f"rotation_center is {rotation_center}, expected a column from 0 to {columns - 1}")
        offset = ((columns - 1) / 2 - rotation_center) * pixel_size
        geometry = ParallelBeamGeometry.circular((rows, columns), (pixel_size, pixel_size), angles, (0.0, offset))
        return Projections(data, geometry)


def find_rotation_center(line_integrals: Tensor, angles: ArrayLike) -> float:
    """The column onto which the axis of a parallel-beam scan projects, to about a tenth of a pixel at low noise.

    Half a turn mirrors a parallel projection about the axis, p(t + pi, u) = p(t, 2c - u). Each view whose opposite was
    measured, or lies within one angular step of a measured view (then it is extrapolated linearly in angle), is
    correlated with it over the columns both share, for every c in the middle half of the detector.

    Args:
        line_integrals: (views, v, u), dimensionless; rows are averaged.
        angles: (views,), rad.

    Raises:
        ValueError: if shapes disagree, no two views face each other, or the views show no structure.
    """
    theta = np.asarray(angles, dtype=np.float64)
    if line_integrals.ndim != 3 or theta.shape != tuple(line_integrals.shape[:1]):
        raise ValueError(
            f"find_rotation_center: line_integrals have shape {tuple(line_integrals.shape)} and angles {theta.shape}, "
            "expected (views, v, u) and (views,)"
        )
    profiles = _numpy(line_integrals.mean(dim=1)).astype(np.float64)
    pairs = _opposite_views(profiles, theta)
    columns = profiles.shape[1]
    # 2c is tried at whole numbers, where mirroring needs no interpolation; a parabola then gives the fraction.
    doubled = np.arange((columns - 1) // 2, 3 * (columns - 1) // 2 + 1)
    score = np.array([sum(_mirror_correlation(a, b, s) for a, b in pairs) for s in doubled])
    best = int(np.argmax(score))
    if score[best] <= 0 or best in (0, len(score) - 1):
        raise ValueError(
            "find_rotation_center: opposite views do not match for any centre in the middle half of the detector; "
            "pass rotation_center"
        )
    left, top, right = score[best - 1 : best + 2]
    return float(doubled[best] + (right - left) / (2 * (2 * top - left - right))) / 2


def _opposite_views(profiles: NDArray[np.float64], theta: NDArray[np.float64]) -> list[tuple[Any, Any]]:
    """Pairs (p(t), p(t + pi)), each (u,), the second between or just beyond the measured angles."""
    unique, first = np.unique(np.mod(theta, 2 * np.pi).round(9), return_index=True)
    step = np.median(np.diff(unique)) if len(unique) > 1 else 0.0
    pairs = []
    for i, angle in enumerate(unique):
        distance = np.mod(unique - angle, 2 * np.pi) - np.pi  # of every view from the opposite of this one
        near, next_near = np.argsort(np.abs(distance), kind="stable")[:2] if len(unique) > 1 else (i, i)
        if np.abs(distance[near]) > 1.01 * step:
            continue
        weight = distance[near] / (distance[near] - distance[next_near])
        opposite = (1 - weight) * profiles[first[near]] + weight * profiles[first[next_near]]
        pairs.append((profiles[first[i]], opposite))
    if not pairs:
        raise ValueError("find_rotation_center: no two views face each other; scan half a turn or pass rotation_center")
    return pairs[:: -(-len(pairs) // _MOST_PAIRS)]


def _mirror_correlation(a: NDArray[np.float64], b: NDArray[np.float64], doubled: int) -> float:
    """Correlation of a(u) with b(doubled - u) over the columns where both are measured; 0 for flat profiles."""
    low, high = max(0, doubled - len(a) + 1), min(len(a) - 1, doubled)
    left, right = a[low : high + 1], b[low : high + 1][::-1]
    left, right = left - left.mean(), right - right.mean()
    power = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / power) if power > 0 else 0.0


def _line_integrals(
    raw: NDArray[Any], white: NDArray[np.float32], dark: NDArray[np.float32], path: str | Path
) -> NDArray[np.float32]:
    beam = white - dark
    if not (beam > 0).any():
        raise ValueError("/exchange/data_white is nowhere above data_dark; check that they are not exchanged")
    signal = raw.astype(np.float32) - dark
    opaque, dead = int((signal < _LEAST_COUNTS).sum()), int((beam < _LEAST_COUNTS).sum())
    if opaque or dead:
        logger.warning("%s: %d values and %d pixels of the beam taken as half a count", path, opaque, dead)
    lines: NDArray[np.float32] = np.log(np.maximum(beam, _LEAST_COUNTS)) - np.log(np.maximum(signal, _LEAST_COUNTS))
    return lines


def _mean_frame(frames: Any, raw: Any) -> NDArray[np.float32]:
    if frames.ndim != 3 or frames.shape[1:] != raw.shape[1:] or len(frames) == 0:
        raise ValueError(f"{frames.name} has shape {frames.shape}, expected (frames, *{raw.shape[1:]}) as in data")
    mean: NDArray[np.float32] = frames[:].mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def _angles(theta: Any, views: int) -> NDArray[np.float64]:
    if theta.shape != (views,):
        raise ValueError(f"{theta.name} has shape {theta.shape}, expected ({views},), an angle for every view of data")
    units = theta.attrs.get("units", "degrees")
    units = units.decode() if isinstance(units, bytes) else str(units)
    if units.lower() not in _RADIANS:
        raise ValueError(f"{theta.name} has units {units!r}, expected degrees or radians; correct the attribute")
    angles: NDArray[np.float64] = theta[:].astype(np.float64) * _RADIANS[units.lower()]
    return angles


def _check_values(values: Tensor, what: str, non_negative: bool = False) -> None:
    if values.dtype != torch.float32:
        raise TypeError(f"Projections: {what} is {values.dtype}, expected float32; convert with .to(torch.float32)")
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ValueError(f"Projections: {what} holds NaN or Inf in {bad} of {values.numel()} values; mend them first")
    if non_negative and bool((values < 0).any()):
        raise ValueError(f"Projections: {what} holds negative counts, least {float(values.min()):g}; clamp them at 0")


def _numpy(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.detach().cpu().numpy()
    return array
