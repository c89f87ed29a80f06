"""The folded brain of a random head, painted on the reference patient of scoreinv.head.

The cerebrum is a hull cut by the midline fissure. Its sulci are the zero level sets of smooth noise drawn on a surface
around each hemisphere and carried inwards along rays, so that they stand on the surface and close at a depth that
varies; the cortex is what lies within its thickness of hull, fissure or sulcus. Levels and positions are (z, y, x) in
mm, towards the patient's Superior, Posterior and Left, from the middle of the cerebrum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates

from scoreinv.canvas import Field, Point, Surface, Window

KNOTS = 32  # of each periodic lattice of noise, along each axis


def smooth_max(a: Field, b: Field, width: float) -> Field:
    """Larger of two distances (mm), rounded where they are within width (mm) of each other."""
    return np.asarray(np.maximum(a, b) + np.square(np.maximum(width - np.abs(a - b), 0)) / np.float32(4 * width))


def smooth_min(a: Field, b: Field, width: float) -> Field:
    """Smaller of two distances (mm), rounded where they are within width (mm) of each other."""
    return -smooth_max(-a, -b, width)


def ellipsoid(at: Sequence[Field] | Field, centre: Point, radii: Point) -> Field:
    """Approximate signed distance (mm) of points to an ellipsoid, everywhere."""
    parts = [(axis - np.float32(c)) / np.float32(r) for axis, c, r in zip(at, centre, radii, strict=True)]
    level = np.sqrt(sum(np.square(part) for part in parts)) + np.float32(1e-3)
    slope = np.sqrt(sum(np.square(part / np.float32(r)) for part, r in zip(parts, radii, strict=True)))
    return np.asarray(level * (level - 1) / (slope + np.float32(1e-4)), dtype=np.float32)


def cerebrum(at: tuple[Field, Field, Field], size: float = 0.0) -> Field:
    """Signed distance (mm) to the hull of both hemispheres, grown by size (mm)."""
    z, y, x = at
    # Widest behind the middle, narrow in front, flat below where frontal lobes and tentorium end.
    wide = x / (1 + np.float32(0.11) * np.tanh((y - 5) / 45))
    upper = ellipsoid((z, y, wide), (-2, 0, 0), (74, 87, 67))
    side = np.abs(x)
    front = -20 + 12 * np.square((y + 45) / 45)
    back = 1 - 0.40 * side - 0.12 * (y - 25)
    blend = 1 / (1 + np.exp(-(y - 10) / 6))
    floor = front * (1 - blend) + back * blend
    hull = smooth_max(upper, floor.astype(np.float32) - z, 14)
    for hemisphere in (-1, 1):
        lobe = ellipsoid(at, (-22, -6, 39 * hemisphere), (25, 46, 25))
        hull = smooth_min(hull, lobe, 8)
    return np.asarray(hull - size, dtype=np.float32)


def cerebellum(at: tuple[Field, Field, Field]) -> Field:
    """Signed distance (mm) to the hull of the cerebellum, which fills what the cerebrum leaves above it."""
    halves = [ellipsoid(at, (-37, 50, 24 * side), (28, 32, 32)) for side in (-1, 1)]
    vermis = ellipsoid(at, (-26, 42, 0), (30, 27, 20))
    return smooth_max(smooth_min(smooth_min(halves[0], halves[1], 5), vermis, 5), -cerebrum(at, 1.3), 2)


def folds(rng: np.random.Generator, at: Field, spacing: float) -> Field:
    """Distance (mm) of points (3, n) to the sulci, which are about twice spacing (mm) apart."""
    lattice = rng.standard_normal((KNOTS, KNOTS, KNOTS), dtype=np.float32)
    # Each hemisphere is folded around a line within it, and reads its own part of the noise.
    side = np.sign(at[2])
    middle = np.stack([np.full_like(side, 2.0), np.clip(0.62 * at[1], -48, 48), 24 * side])
    ray = at - middle
    length = np.sqrt(np.square(ray).sum(0)) + 4
    stretch = (length / 45) ** np.float32(-0.55)
    drawn = (middle + ray * stretch) / np.float32(spacing)
    drawn[2] += side * np.float32(0.25 * KNOTS)

    def noise(shift: Point) -> Field:
        place = drawn + np.asarray(shift, np.float32)[:, None]
        return np.asarray(map_coordinates(lattice, place, order=3, prefilter=False, mode="grid-wrap"))

    value = noise((0, 0, 0))
    step = 0.15
    slope = np.sqrt(sum(np.square(noise(step * axis) - value) for axis in np.eye(3))) / step
    return np.asarray(np.abs(value) / np.maximum(slope * stretch, 0.12) * np.float32(spacing), dtype=np.float32)


def paint_brain(surface: Surface, rng: np.random.Generator, wander: Field, ventricles: float, atrophy: float) -> None:
    """Paint cerebrum, cerebellum, brainstem and what lies within, into the fluid already painted.

    Args:
        surface: what is painted.
        rng: draws the folds and the sizes of nuclei.
        wander: smooth noise of unit variance, (z, y, x).
        ventricles: width of the ventricles, 1 for the reference patient.
        atrophy: width of the sulci, 1 for the reference patient.
    """
    where = surface.window((-75, -95, -78), (80, 95, 78))
    z, y, x = at = (surface.at[0][where], surface.at[1][where], surface.at[2][where])
    hull = cerebrum(at)
    core = ellipsoid(at, (3, -9, 0), (26, 38, 30))
    gap = np.float32(0.5 + 0.4 * atrophy)
    fissure = np.maximum(np.abs(x + 0.8 * wander[where]) - gap, -core)
    outside = np.asarray(np.maximum(hull, -fissure), dtype=np.float32)
    surface.paint(outside, "grey", where)
    inside = outside < 2
    points = np.stack([z[inside], y[inside], x[inside]])
    depth, open_to = -outside[inside], -hull[inside]
    reach = np.clip(18 + 7 * wander[where][inside], 5, 28)
    gaps = folds(rng, points, rng.uniform(5.2, 6.4))
    # Sulci close before they reach the nuclei.
    below = np.maximum(np.maximum(depth - reach, -core[inside]), 0)
    sulci = np.hypot(gaps, below)
    swell = np.clip(1 + 0.5 * wander[where][inside], 0.4, 1.8)
    width = atrophy * swell * (0.2 + 0.8 * np.exp(-np.maximum(open_to, 0) / 4))
    sylvian, opening = insula(points, wander[where][inside], atrophy)
    cortex = rng.uniform(2.6, 3.4)
    buried = np.maximum(-depth, np.maximum(width - sulci, opening - sylvian))
    white = np.full_like(outside, 50)
    white[inside] = buried + cortex
    # Myelin fades out over about a millimetre.
    surface.paint(white * np.float32(surface.voxel / (surface.voxel + 1)), "white", where)
    fluid = np.zeros_like(outside)
    fluid[inside] = np.maximum(
        surface.coverage(sulci - width) - surface.coverage(sulci + width),
        surface.coverage(sylvian - opening) - surface.coverage(sylvian + opening),
    ) * surface.coverage(-depth)
    surface.mix(fluid, "csf", where)
    paint_core(surface, rng, ventricles)
    paint_hindbrain(surface, rng, where, wander)


def insula(points: Field, wander: Field, atrophy: float) -> tuple[Field, float]:
    """Distance (mm) of points (3, n) to the middle of both Sylvian fissures with the cisterns over the insula."""
    z, y, x = points
    side = np.abs(x)
    plane = (z + 8 - 0.38 * (y + 15) + 3 * wander) * np.float32(0.93)
    beyond = np.maximum(np.maximum(38 - side, np.abs(y + 4) - 34), 0)
    fissure = np.hypot(plane, beyond)
    within = np.maximum(ellipsoid((z, y, 0 * x), (0, -5, 0), (15, 24, 90)), 0)
    floor = np.hypot(side - 37 + 0.008 * np.square(y + 5) + 2.2 * wander, within)
    return np.asarray(np.minimum(fissure, floor), dtype=np.float32), 0.5 + 0.5 * atrophy


def paint_core(surface: Surface, rng: np.random.Generator, ventricles: float) -> None:
    """Paint corpus callosum, ventricles, basal nuclei and thalami."""
    arch, where = surface.ellipsoid_distance((3, -9, 0), (26, 38, 30))
    side = np.abs(surface.at[2][where])
    height = surface.at[0][where]
    callosum = np.maximum(np.maximum(arch, -6 - arch), np.maximum(side - 14, -2 - height))
    surface.paint(callosum, "white", where)
    third, where = surface.ellipsoid_distance((0, 5, 0), (11, 15, 1.3 * ventricles))
    v = 1.25 * ventricles
    for s in (-1, 1):
        u = v * rng.uniform(0.85, 1.15)
        surface.tube([(14, -2, 21 * s), (2, 6, 20 * s), (-14, 4, 12 * s)], [7, 6, 7], "white")
        surface.ellipsoid((1, -10, 26 * s), rng.normal(1, 0.06) * np.array([10, 18, 6.5]), "deep grey", -0.2 * s)
        surface.ellipsoid((9, -26, 13 * s), (10, 10, 6), "deep grey")
        surface.tube([(14, -20, 14 * s), (21, 0, 17 * s), (15, 22, 22 * s)], [4.5, 2.8, 2], "deep grey")
        surface.ellipsoid((7, 9, 11 * s), rng.normal(1, 0.06) * np.array([10, 16, 9]), "deep grey", -0.4 * s)
        surface.ellipsoid((13, -27, (3 + 2.4 * u) * s), (8, 13, 2.8 * u), "csf", -0.25 * s)
        surface.tube([(16, -20, 7 * s), (21, 0, 8 * s), (16, 24, 15 * s)], [3.2 * u, 3.6 * u, 4.6 * u], "csf")
        surface.tube([(16, 24, 15 * s), (6, 32, 23 * s), (3, 54, 22 * s)], [4.6 * u, 5.2 * u, 1.6 * u], "csf")
        surface.tube([(6, 32, 23 * s), (-12, 18, 33 * s), (-18, -6, 32 * s)], [4.4 * u, 2.0 * u, 1.6 * u], "csf")
        surface.tube([(-19, 12, 29 * s), (-19, -8, 27 * s), (-17, -14, 23 * s)], [4, 6, 7], "grey")
        surface.ellipsoid((4, 30, 21 * s), (5, 5, 2), "lesion" if rng.random() < 0.2 else "vessel")
    surface.paint(third, "csf", where)


def paint_hindbrain(surface: Surface, rng: np.random.Generator, where: Window, wander: Field) -> None:
    """Paint the leaves of the cerebellum around its white core, brainstem, fourth ventricle and cord."""
    z, y, x = at = (surface.at[0][where], surface.at[1][where], surface.at[2][where])
    hull = cerebellum(at)
    surface.paint(hull, "cerebellum", where)
    # The leaves fan out from an arched line across the midline; the fissures between them are evenly spaced.
    up, back = z + 20, y - 16 + np.float32(0.004) * np.square(x)
    angle = np.arctan2(up, back) + 0.04 * wander[where]
    radius = np.hypot(up, back)
    lobules, leaves = float(rng.uniform(15, 19)), float(rng.integers(4, 6))
    phase = angle * np.float32(lobules / (2 * np.pi))
    lobule = np.abs(phase - np.round(phase)) * radius * np.float32(2 * np.pi / lobules)
    leaf = np.abs(phase * leaves - np.round(phase * leaves)) * radius * np.float32(2 * np.pi / lobules / leaves)
    fissures = np.minimum(
        np.hypot(leaf, np.maximum(-hull - 8, 0)), np.hypot(lobule, np.maximum(-hull - 19 + 3 * wander[where], 0))
    )
    # A branch of white matter runs in the middle of each lobule, its twigs into the leaves.
    middle = np.float32(np.pi / lobules) * radius - lobule
    surface.paint(np.maximum(middle - 1.2, hull + 3), "white", where)
    surface.paint(np.maximum(hull + 19, -hull - 60) + 2.5 * wander[where], "white", where)
    share = surface.coverage(fissures - 0.4) - surface.coverage(fissures + 0.4)
    surface.mix(share * surface.coverage(hull), "csf", where)
    for s in (-1, 1):
        surface.tube([(-36, 30, 16 * s), (-30, 8, 12 * s)], [7, 7], "white")
    surface.tube([(-2, 8, 0), (-14, 6, 0)], [11, 13], "brainstem")
    for s in (-1, 1):
        surface.tube([(-2, 2, 11 * s), (-14, -2, 9 * s)], [7, 7], "brainstem")
    surface.ellipsoid((-28, 2, 0), (15, 13, 17), "brainstem")
    surface.tube([(-36, 8, 0), (-58, 16, 0), (-75, 22, 0), (-140, 26, 0)], [10, 7.5, 6, 6], "brainstem")
    surface.ellipsoid((-33, 20, 0), (13, 5 * rng.uniform(0.8, 1.3), 7 * rng.uniform(0.8, 1.3)), "csf")
    surface.tube([(-18, 15, 0), (2, 15, 0)], [1.6, 1.2], "csf")
