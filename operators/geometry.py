"""Where things are: the voxels of an image, and the rays of a scan. Lengths in mm, angles in rad.

Every vector is written in the order of the array axes, (z, y, x), in the volume's own frame; a detector pixel is
(v, u), row first. `ConeBeamGeometry` and `ParallelBeamGeometry` hold the position of source and detector view by view,
so that circular, short, displaced-detector, helical, C-arm and calibrated scans are one class; the class methods build
the common ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.float64]  # (views, 3), each (z, y, x)


@dataclass(frozen=True)
class Volume:
    """A regular grid of voxels.

    Args:
        shape: number of voxels (z, y, x).
        voxel_size: edge lengths (z, y, x), mm.
        center: position of the middle of the grid (z, y, x), mm.
    """

    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _triple(self.shape, int, "Volume: shape", positive=True))
        object.__setattr__(self, "voxel_size", _triple(self.voxel_size, float, "Volume: voxel_size", positive=True))
        object.__setattr__(self, "center", _triple(self.center, float, "Volume: center", positive=False))

    @property
    def first_voxel(self) -> NDArray[np.float64]:
        """Position of the middle of voxel (0, 0, 0), mm."""
        return np.asarray(self.center) - (np.asarray(self.shape) - 1) / 2 * np.asarray(self.voxel_size)

    @property
    def corners(self) -> NDArray[np.float64]:
        """(8, 3) corners of the grid, mm."""
        half = np.asarray(self.shape) * np.asarray(self.voxel_size) / 2
        signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), -1).reshape(8, 3)
        return np.asarray(self.center) + signs * half


@dataclass(frozen=True, eq=False)
class Rays:
    """Views of rays; both end points of a ray are affine in its pixel index (i, j).

    Ray (view, i, j) runs from `start + i start_v + j start_u` to `end + i end_v + j end_u`. All fields are (views, 3)
    in mm. Nothing is stored per ray, so memory grows with the number of views only.
    """

    shape: tuple[int, int, int]
    start: Vectors
    start_v: Vectors
    start_u: Vectors
    end: Vectors
    end_v: Vectors
    end_u: Vectors

    @classmethod
    def between(cls, starts: ArrayLike, ends: ArrayLike) -> Self:
        """Arbitrary rays: starts and ends (rays, 3), mm; one ray a view."""
        first, last = (np.ascontiguousarray(points, dtype=np.float64) for points in (starts, ends))
        if first.ndim != 2 or first.shape[-1] != 3 or first.shape != last.shape:
            raise ValueError(f"Rays: starts {first.shape} and ends {last.shape} must both be (rays, 3)")
        zero = np.zeros_like(first)
        return cls((len(first), 1, 1), first, zero, zero, last, zero, zero)

    def segments(self, views: slice) -> tuple[Vectors, Vectors]:
        """Both ends of every ray of these views, each (views, v, u, 3), mm."""
        i, j = np.arange(self.shape[1])[:, None, None], np.arange(self.shape[2])[:, None]

        def points(base: Vectors, step_v: Vectors, step_u: Vectors) -> Vectors:
            first, down, across = (vectors[views, None, None] for vectors in (base, step_v, step_u))
            return first + i * down + j * across

        return points(self.start, self.start_v, self.start_u), points(self.end, self.end_v, self.end_u)


@dataclass(frozen=True, eq=False)
class ParallelBeamGeometry:
    """Parallel rays onto a flat detector, view by view.

    Args:
        directions: (views, 3) along the rays, of any length but 0; kept as unit vectors.
        detector_centers: (views, 3) middle of the detector, mm.
        v_steps, u_steps: (views, 3) vectors from one pixel to the next along a column and along a row, mm. They need
            not be perpendicular to the rays.
        detector_shape: pixels (v, u).

    Raises:
        ValueError: if shapes disagree, for NaN or Inf, or a direction of length 0.
    """

    directions: Vectors
    detector_centers: Vectors
    v_steps: Vectors
    u_steps: Vectors
    detector_shape: tuple[int, int]

    def __post_init__(self) -> None:
        _freeze(self, ("directions", "detector_centers", "v_steps", "u_steps"))
        length = np.linalg.norm(self.directions, axis=1, keepdims=True)
        if (length == 0).any():
            raise ValueError("ParallelBeamGeometry: directions has a vector of length 0, expected those of the rays")
        # Unit vectors keep their last bits, so that a geometry read from a file is the one that was written.
        directions = np.where(np.abs(length - 1) < 1e-9, self.directions, self.directions / length)
        directions.flags.writeable = False
        object.__setattr__(self, "directions", directions)

    @classmethod
    def circular(
        cls,
        detector_shape: tuple[int, int],
        pixel_size: tuple[float, float],
        angles: ArrayLike,
        detector_offset: tuple[float, float] = (0.0, 0.0),
    ) -> Self:
        """Rotation about z. At angle t rays run along -(cos t, sin t) in (x, y), u along (-sin t, cos t), v along +z.

        Args:
            detector_shape: pixels (v, u).
            pixel_size: (v, u), mm.
            angles: (views,), rad.
            detector_offset: shift of the detector's middle along (v, u), mm.
        """
        outward, u, v = _rotating_frame(angles, "ParallelBeamGeometry")
        size_v, size_u = _pair(pixel_size, "ParallelBeamGeometry: pixel_size")
        centers = detector_offset[0] * v + detector_offset[1] * u
        return cls(-outward, centers, size_v * v, size_u * u, detector_shape)

    @property
    def views(self) -> int:
        return len(self.directions)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(views, v, u) of the projections."""
        return (self.views, *self.detector_shape)

    def subset(self, i: int, n: int) -> Self:
        """Views i, i + n, i + 2n, ..."""
        return _every(self, i, n, ("directions", "detector_centers", "v_steps", "u_steps"))

    def rays(self, volume: Volume) -> Rays:
        """The rays of every pixel, long enough to cross the volume."""
        reach = np.linalg.norm(volume.corners, axis=1).max() + np.linalg.norm(self.detector_centers, axis=1).max()
        # Interpolation reaches half a voxel beyond the grid.
        reach += np.linalg.norm(volume.voxel_size) / 2
        # Pixels of a slanted detector lie before or behind its middle, along the rays.
        for steps, pixels in zip((self.v_steps, self.u_steps), self.detector_shape, strict=True):
            reach += (pixels - 1) / 2 * np.abs((steps * self.directions).sum(1)).max()
        corner = _first_pixel(self)
        return Rays(
            self.shape,
            corner - reach * self.directions,
            self.v_steps,
            self.u_steps,
            corner + reach * self.directions,
            self.v_steps,
            self.u_steps,
        )


@dataclass(frozen=True, eq=False)
class ConeBeamGeometry:
    """Rays from a point source onto a flat detector, view by view.

    Args:
        sources: (views, 3) source positions, mm.
        detector_centers: (views, 3) middle of the detector, mm.
        v_steps, u_steps: (views, 3) vectors from one pixel to the next along a column and along a row, mm.
        detector_shape: pixels (v, u).
    """

    sources: Vectors
    detector_centers: Vectors
    v_steps: Vectors
    u_steps: Vectors
    detector_shape: tuple[int, int]

    def __post_init__(self) -> None:
        _freeze(self, ("sources", "detector_centers", "v_steps", "u_steps"))

    @classmethod
    def circular(
        cls,
        source_to_isocenter: float,
        source_to_detector: float,
        detector_shape: tuple[int, int],
        pixel_size: tuple[float, float],
        angles: ArrayLike,
        detector_offset: tuple[float, float] = (0.0, 0.0),
    ) -> Self:
        """Source and detector on circles about the z axis; full turn, short scan or displaced detector.

        At angle t the source is at (x, y) = R (cos t, sin t), z = 0; u runs along (-sin t, cos t), v along +z.

        Args:
            source_to_isocenter: R, mm.
            source_to_detector: mm, larger than R.
            detector_shape: pixels (v, u).
            pixel_size: (v, u), mm.
            angles: (views,), rad.
            detector_offset: shift of the detector's middle along (v, u), mm; (0, u) is a half-fan scan.

        Raises:
            ValueError: if a length is not positive or the detector stands before the axis.
        """
        return cls.helical(
            source_to_isocenter, source_to_detector, detector_shape, pixel_size, angles, 0.0, detector_offset
        )

    @classmethod
    def helical(
        cls,
        source_to_isocenter: float,
        source_to_detector: float,
        detector_shape: tuple[int, int],
        pixel_size: tuple[float, float],
        angles: ArrayLike,
        pitch: float,
        detector_offset: tuple[float, float] = (0.0, 0.0),
    ) -> Self:
        """As `circular`, source and detector moving by `pitch` mm along z per turn; the middle angle is at z = 0."""
        if not 0 < source_to_isocenter < source_to_detector:
            raise ValueError(
                f"ConeBeamGeometry: source_to_isocenter is {source_to_isocenter} and source_to_detector "
                f"{source_to_detector}; expected 0 < source_to_isocenter < source_to_detector, in mm"
            )
        outward, u, v = _rotating_frame(angles, "ConeBeamGeometry")
        size_v, size_u = _pair(pixel_size, "ConeBeamGeometry: pixel_size")
        t = np.asarray(angles, dtype=np.float64)
        rise = (t - (t.min() + t.max()) / 2)[:, None] * pitch / (2 * np.pi) * v
        sources = source_to_isocenter * outward + rise
        centers = sources - source_to_detector * outward + detector_offset[0] * v + detector_offset[1] * u
        return cls(sources, centers, size_v * v, size_u * u, detector_shape)

    @classmethod
    def from_projection_matrices(
        cls, matrices: ArrayLike, detector_shape: tuple[int, int], pixel_size: tuple[float, float]
    ) -> Self:
        """A calibrated scan.

        Args:
            matrices: (views, 3, 4), each taking a point (x, y, z, 1) in mm to (u w, v w, w), with u and v counted in
                pixels from the middle of the first.
            detector_shape: pixels (v, u).
            pixel_size: (v, u), mm; a matrix leaves the distance of the detector open, the size of a pixel settles it.

        Raises:
            ValueError: for another shape, or matrices without a finite source.
        """
        P = np.asarray(matrices, dtype=np.float64)
        if P.ndim != 3 or P.shape[1:] != (3, 4):
            raise ValueError(f"ConeBeamGeometry: projection matrices have shape {P.shape}, expected (views, 3, 4)")
        if np.any(np.abs(np.linalg.det(P[:, :, :3])) <= 1e-12 * np.abs(P[:, :, :3]).max() ** 3):
            raise ValueError("ConeBeamGeometry: a projection matrix has no finite source; use ParallelBeamGeometry")
        back = np.linalg.inv(P[:, :, :3])  # columns: direction of one pixel along u, along v, and of pixel (0, 0)
        sources = -np.einsum("nij,nj->ni", back, P[:, :, 3])
        _, size_u = _pair(pixel_size, "ConeBeamGeometry: pixel_size")
        # The sign of a projection matrix is arbitrary: choose the one that puts the origin before the source.
        towards = np.sign(np.einsum("ni,ni->n", back[:, :, 2], -sources))
        scale = (towards * size_u / np.linalg.norm(back[:, :, 0], axis=1))[:, None]
        u, v, first = (scale * back[:, :, k] for k in range(3))
        middle = first + (detector_shape[1] - 1) / 2 * u + (detector_shape[0] - 1) / 2 * v
        to_zyx = [2, 1, 0]
        rows, columns = detector_shape
        return cls(sources[:, to_zyx], (sources + middle)[:, to_zyx], v[:, to_zyx], u[:, to_zyx], (rows, columns))

    @property
    def views(self) -> int:
        return len(self.sources)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(views, v, u) of the projections."""
        return (self.views, *self.detector_shape)

    def subset(self, i: int, n: int) -> Self:
        """Views i, i + n, i + 2n, ..."""
        return _every(self, i, n, ("sources", "detector_centers", "v_steps", "u_steps"))

    def rays(self, volume: Volume) -> Rays:
        """The rays from the source to the middle of every pixel."""
        zero = np.zeros_like(self.sources)
        return Rays(self.shape, self.sources, zero, zero, _first_pixel(self), self.v_steps, self.u_steps)

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Pixel coordinates (views, points, 2), each (v, u), of points (points, 3) in mm; NaN behind the source."""
        p = np.asarray(points, dtype=np.float64)
        # p = source + s (corner - source + i v + j u)  =>  (s, s i, s j), one small inverse a view.
        inverse = np.linalg.inv(np.stack([_first_pixel(self) - self.sources, self.v_steps, self.u_steps], -1))
        s = (p[None] - self.sources[:, None]) @ inverse.transpose(0, 2, 1)
        return np.where(s[..., :1] > 0, s[..., 1:] / np.where(s[..., :1] > 0, s[..., :1], 1.0), np.nan)


def _first_pixel(geometry: ParallelBeamGeometry | ConeBeamGeometry) -> Vectors:
    rows, columns = geometry.detector_shape
    return geometry.detector_centers - (rows - 1) / 2 * geometry.v_steps - (columns - 1) / 2 * geometry.u_steps


def _rotating_frame(angles: ArrayLike, what: str) -> tuple[Vectors, Vectors, Vectors]:
    """Unit vectors from the axis to the source, along u and along v, each (views, 3) in (z, y, x)."""
    t = np.asarray(angles, dtype=np.float64)
    if t.ndim != 1 or t.size == 0 or not np.isfinite(t).all():
        raise ValueError(f"{what}: angles have shape {t.shape}, expected (views,) finite numbers in rad")
    zero, one = np.zeros_like(t), np.ones_like(t)
    outward = np.stack([zero, np.sin(t), np.cos(t)], -1)
    u = np.stack([zero, np.cos(t), -np.sin(t)], -1)
    return outward, u, np.stack([one, zero, zero], -1)


def _every(geometry: Any, i: int, n: int, fields: Sequence[str]) -> Any:
    if not 0 <= i < n <= geometry.views:
        raise ValueError(f"{type(geometry).__name__}: subset {i} of {n}; expected 0 <= i < n <= {geometry.views} views")
    return replace(geometry, **{name: getattr(geometry, name)[i::n] for name in fields})


def _freeze(geometry: Any, fields: Sequence[str]) -> None:
    """Store read-only float64 copies (views, 3) and check that they agree."""
    name = type(geometry).__name__
    views = None
    for field in fields:
        vectors = np.array(getattr(geometry, field), dtype=np.float64)
        if vectors.ndim != 2 or vectors.shape[1] != 3 or len(vectors) != (views or len(vectors)):
            raise ValueError(f"{name}: {field} has shape {vectors.shape}, expected ({views or 'views'}, 3)")
        if not np.isfinite(vectors).all():
            raise ValueError(f"{name}: {field} holds NaN or Inf; expected positions in mm")
        views = len(vectors)
        vectors.flags.writeable = False
        object.__setattr__(geometry, field, vectors)
    shape = tuple(int(n) for n in geometry.detector_shape)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{name}: detector_shape is {geometry.detector_shape}, expected (v, u) positive integers")
    object.__setattr__(geometry, "detector_shape", shape)


def _triple(values: Sequence[Any], kind: type, what: str, positive: bool) -> tuple[Any, ...]:
    numbers = values.tolist() if isinstance(values, np.ndarray | torch.Tensor) else values
    good = len(numbers) == 3 and all(kind(n) == n and np.isfinite(n) and (n > 0 or not positive) for n in numbers)
    if not good:
        sign = "positive " if positive else ""
        raise ValueError(f"{what} is {tuple(numbers)}, expected three {sign}{kind.__name__}s (z, y, x)")
    return tuple(kind(n) for n in numbers)


def _pair(values: Sequence[float], what: str) -> tuple[float, float]:
    if len(values) != 2 or not all(np.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"{what} is {tuple(values)}, expected two positive lengths (v, u) in mm")
    return float(values[0]), float(values[1])
