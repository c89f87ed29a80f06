"""The drawing surface of the random anatomies: coordinates of a patient and the shapes painted on them.

A Surface holds coordinates and shapes and leaves to its kind what paint is: a Canvas mixes Hounsfield units in place,
and beside them, where it is told how much each tissue takes up, a radioactive tracer.

Shapes are signed distances (mm, negative inside): ellipsoids, tapered capsules and columns of superellipses. The
painted fraction of a voxel falls linearly across one voxel around the surface, which approximates partial volume. Noise
is a cubic B-spline on a periodic lattice in millimetres, so shape and voxel size only choose where it is sampled.
Points are (z, y, x) in mm, towards the patient's Superior, Posterior and Left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
Point = Sequence[float] | NDArray[Any]
Window = tuple[slice, slice, slice]

WHOLE: Window = (slice(None), slice(None), slice(None))


@dataclass
class Surface(ABC):
    """Reference-patient coordinates of the voxels being painted (all (z, y, x), mm).

    Fields: axes, the coordinates along each axis before space is displaced; at, those of each voxel after it; reach,
    the largest displacement along each axis; voxel, the width over which a painted edge falls.
    """

    axes: tuple[Field, Field, Field]
    at: tuple[Field, Field, Field]
    reach: tuple[float, float, float]
    voxel: float

    @abstractmethod
    def mix(self, share: Field, value: Any, where: Window = WHOLE) -> None:
        """Replace a share (0 to 1) of each voxel of a window by value."""

    def window(self, low: Point, high: Point) -> Window:
        """Slices of the voxels that can fall between two corners (mm), allowing for the displacement of space."""
        spans = []
        for axis, first, last, reach in zip(self.axes, low, high, self.reach, strict=True):
            pad = reach + self.voxel
            start, stop = np.searchsorted(axis, [first - pad, last + pad])
            spans.append(slice(int(start), int(stop)))
        return spans[0], spans[1], spans[2]

    def paint(self, distance: Field, value: Any, where: Window = WHOLE, share: float = 1.0) -> None:
        """Mix value into the voxels where the signed distance (mm, negative inside) is below zero."""
        self.mix(self.coverage(distance, share), value, where)

    def coverage(self, distance: Field, share: float = 1.0) -> Field:
        """Fraction of each voxel inside a surface, from its signed distance (mm)."""
        return np.asarray(np.clip(0.5 - distance / self.voxel, 0.0, 1.0) * np.float32(share))

    def sheet(self, distance: Field, thickness: float | Field, value: Any, where: Window = WHOLE) -> None:
        """Mix value into a sheet of the given thickness (mm) about the zero of distance (mm)."""
        self.mix(self.coverage(distance - thickness / 2) - self.coverage(distance + thickness / 2), value, where)

    def bone(self, distance: Field, cortex: Any, marrow: Any, shell: float, where: Window = WHOLE) -> None:
        """Paint a bone: a shell (mm thick) of cortex around marrow."""
        self.paint(distance, cortex, where)
        self.paint(distance + shell, marrow, where)

    def ellipsoid_distance(self, centre: Point, radii: Point, turn: float = 0.0) -> tuple[Field, Window]:
        """Approximate signed distance (mm) to an ellipsoid turned by an angle (rad) about z, and its window."""
        flat = max(radii[1], radii[2]) if turn else 0.0
        extent = (radii[0], max(radii[1], flat), max(radii[2], flat))
        where = self.window(
            [c - e for c, e in zip(centre, extent, strict=True)], [c + e for c, e in zip(centre, extent, strict=True)]
        )
        z, y, x = (axis[where] - np.float32(c) for axis, c in zip(self.at, centre, strict=True))
        if turn:
            y, x = np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x
        squares = [np.square(part / radius) for part, radius in zip((z, y, x), radii, strict=True)]
        level = np.sqrt(squares[0] + squares[1] + squares[2]) + 1e-3
        slope = np.sqrt(sum(square / radius**2 for square, radius in zip(squares, radii, strict=True))) + 1e-5
        return np.asarray(level * (level - 1) / slope, dtype=np.float32), where

    def ellipsoid(self, centre: Point, radii: Point, value: Any, turn: float = 0.0) -> None:
        """Paint an ellipsoid (mm) of value."""
        distance, where = self.ellipsoid_distance(centre, radii, turn)
        self.paint(distance, value, where)

    def capsule_distance(self, start: Point, end: Point, first: float, last: float) -> tuple[Field, Window]:
        """Signed distance (mm) to a segment whose radius tapers from first to last (mm), and its window."""
        wide = max(first, last)
        a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
        where = self.window(np.minimum(a, b) - wide, np.maximum(a, b) + wide)
        z, y, x = (axis[where] - c for axis, c in zip(self.at, a, strict=True))
        step = b - a
        along = np.clip((z * step[0] + y * step[1] + x * step[2]) / (step @ step + 1e-6), 0.0, 1.0)
        apart = np.square(z - along * step[0]) + np.square(y - along * step[1]) + np.square(x - along * step[2])
        return np.sqrt(apart) - (first + (last - first) * along), where

    def tube(self, points: Sequence[Point], radii: Sequence[float], value: Any) -> None:
        """Paint a polyline tube; a tube thinner than a voxel only fills its share of the voxel."""
        for i in range(len(points) - 1):
            distance, where = self.capsule_distance(points[i], points[i + 1], radii[i], radii[i + 1])
            share = min(1.0, (radii[i] + radii[i + 1]) / self.voxel)
            self.paint(distance, value, where, share)

    def long_bone(self, points: Sequence[Point], radius: float, cortex: Any, marrow: Any, shell: float) -> None:
        """Paint a tubular bone along a polyline (mm) with a cortical shell (mm)."""
        radii = [radius] * len(points)
        self.tube(points, radii, cortex)
        self.tube(points, [r - shell for r in radii], marrow)


@dataclass
class Canvas(Surface):
    """Volume being painted in HU, and in uptake where that is wanted.

    Fields: layers, (1 or 2, z, y, x), HU and uptake; uptake, of a tissue from its HU and the organ's name; organ, the
    name of what is being painted where HU does not tell it.
    """

    layers: Field
    uptake: Callable[[float | Field, str | None], float | Field] | None = None
    organ: str | None = None

    @property
    def hu(self) -> Field:
        """Hounsfield units, (z, y, x)."""
        return np.asarray(self.layers[0])

    def named(self, organ: str) -> Canvas:
        """This canvas, for painting an organ."""
        return replace(self, organ=organ)

    def mix(self, share: Field, value: float | Field, where: Window = WHOLE) -> None:
        """Mix value (HU), and the uptake that goes with it, into a window of the volume."""
        values = [value] if self.uptake is None else [value, self.uptake(value, self.organ)]
        for layer, painted in zip(self.layers, values, strict=True):
            region = layer[where]
            region += share * (painted - region)


def smooth_noise(rng: np.random.Generator, axes: Sequence[Field], spacing: float, cells: int) -> Field:
    """Unit-variance noise on the grid of axes (mm): a periodic cubic B-spline with knots every spacing mm."""
    field = rng.standard_normal((cells, cells, cells), dtype=np.float32)
    for axis in axes:
        field = np.tensordot(field, spline_weights(axis / spacing, cells), axes=(0, 1))
    return np.ascontiguousarray(field, dtype=np.float32)


def spline_weights(position: Field, cells: int) -> Field:
    """Cubic B-spline weights (positions, cells) of periodic knots, scaled to keep unit variance on average."""
    base = np.floor(position).astype(int)
    t = position - base
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    weights = np.zeros((len(position), cells), dtype=np.float32)
    for offset, tap in enumerate(taps):
        weights[np.arange(len(position)), (base + offset - 1) % cells] += tap
    return weights / np.float32(np.sqrt(0.4794))


def profile(table: NDArray[np.float64], column: int, z: Field) -> Field:
    """Table column interpolated at levels z (mm)."""
    return np.interp(z, table[:, 0], table[:, column]).astype(np.float32)


def superellipse(canvas: Canvas, table: NDArray[np.float64], depth: float, power: float) -> Field:
    """Radial signed distance (mm) to a column of superellipses centred depth mm posterior, cut at the table's ends."""
    z, y, x = canvas.at[0], canvas.at[1] - np.float32(depth), canvas.at[2]
    sides = np.abs(x) / profile(table, 1, z), np.abs(y) / profile(table, 2, z)
    level = (sides[0] ** power + sides[1] ** power) ** np.float32(1 / power) + np.float32(1e-3)
    ends = np.maximum(z - table[-1, 0], table[0, 0] - z)
    return np.asarray(np.maximum((1 - 1 / level) * np.hypot(x, y), ends), dtype=np.float32)
