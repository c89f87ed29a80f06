"""Random MR heads, drawn from a seed: the fractions of tissues in each voxel.

One reference patient is described in millimetres from the middle of the cerebrum (vertex of the scalp near +86, eyes
near -36, chin near -130) as signed distances to surfaces. A seed draws the level the box is centred on, the patient's
size, tilt and asymmetry, the thickness of skull and fat, the width of ventricles and sulci, lesions, and a smooth
random displacement of space. Tissues are painted from outside inwards: scalp, face, skull and fluid here, the brain by
scoreinv.brain, on the surface of scoreinv.canvas. Everything random is drawn in millimetres before sampling, so shape
and voxel size only choose where the same head is sampled. Edges fall over the smallest voxel size: slices thicker than
their pixels are sampled in their middle plane; average thinner ones for a thick slice.

    from scoreinv.head import contrast, head
    image = contrast(head(0, (12, 200, 200), (10.0, 1.1, 1.1)), "t2", seed=0)
"""

from __future__ import annotations

import numpy as np
import torch

from scoreinv.brain import cerebellum, cerebrum, ellipsoid, paint_brain, smooth_min
from scoreinv.canvas import Field, smooth_noise
from scoreinv.phantoms import check
from scoreinv.tissues import TISSUES, WEIGHTINGS, Head, TissueMap, contrast

__all__ = ["TISSUES", "WEIGHTINGS", "Head", "contrast", "head"]


def head(seed: int, shape: tuple[int, int, int], voxel_size: tuple[float, float, float]) -> Head:
    """Random head on a box of shape voxels of voxel_size mm, centred between skull base and upper brain.

    Axes point to the patient's Superior, Posterior and Left. The seed alone fixes the head.
    Raises ValueError for a negative seed, a shape that is not 3 positive ints or a voxel size not 3 positive floats.
    """
    check(seed, shape, voxel_size)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 1))))
    axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, voxel_size, strict=True)]
    surface = place_head(rng, axes, float(min(voxel_size)))
    wander, lumps, streaks = (smooth_noise(rng, axes, s, c) for s, c in ((17, 24), (45, 10), (6, 64)))
    atrophy = float(np.clip(rng.lognormal(0, 0.3), 0.6, 2.0))
    cavity = paint_skull(surface, rng, (wander, lumps, streaks), atrophy)
    paint_brain(surface, rng, wander, float(np.clip(atrophy * rng.lognormal(0, 0.25), 0.6, 2.6)), atrophy)
    paint_vessels(surface, rng, cavity)
    paint_lesions(surface, rng, wander)
    fractions = torch.from_numpy(surface.fractions())
    return Head(fractions, (float(voxel_size[0]), float(voxel_size[1]), float(voxel_size[2])))


def place_head(rng: np.random.Generator, axes: list[Field], voxel: float) -> TissueMap:
    """Nothing painted yet, in the patient's coordinates: level, position, size, tilt and smooth displacement."""
    level = float(np.clip(rng.normal(-2, 16), -34, 34))
    size = rng.uniform(0.93, 1.06) * np.array([1.0, rng.uniform(0.94, 1.05), rng.uniform(0.95, 1.06)])
    shift = np.array([0.0, rng.normal(2, 5), rng.normal(0, 4)])
    straight = [
        ((axis - s) / k + o).astype(np.float32)
        for axis, s, k, o in zip(axes, shift, size, (level, 0.0, 0.0), strict=True)
    ]
    z, y, x = np.meshgrid(*straight, indexing="ij")
    nod, lean, turn = (np.float32(rng.normal(0, s)) for s in (0.12, 0.04, 0.06))
    nodded = z + nod * y, y - nod * z
    leant = nodded[0] + lean * x, x - lean * nodded[0]
    turned = nodded[1] + turn * leant[1], leant[1] - turn * nodded[1]
    wobble = [np.float32(rng.uniform(1.2, 2.4)) * smooth_noise(rng, axes, 45, 10) for _ in range(3)]
    at = leant[0] + wobble[0], turned[0] + wobble[1], turned[1] + wobble[2]
    reach = [float(np.abs(a - b).max()) for a, b in zip(at, (z, y, x), strict=True)]
    return TissueMap((straight[0], straight[1], straight[2]), at, (reach[0], reach[1], reach[2]), voxel)


def paint_skull(
    surface: TissueMap, rng: np.random.Generator, noise: tuple[Field, Field, Field], atrophy: float
) -> Field:
    """Paint scalp, face, neck, skull and the fluid in it; return the signed distance (mm) to the cranial cavity."""
    at = surface.at
    wander, lumps, streaks = noise
    cavity = smooth_min(cerebrum(at, 0.8 + 1.3 * atrophy), cerebellum(at) - 3, 6)
    cavity = smooth_min(cavity, ellipsoid(at, (-16, -4, 0), (12, 20, 18)), 8)
    # The vault is thicker than the temporal bones below it.
    vault = np.float32(rng.uniform(4.5, 8)) * (0.75 + 0.25 * np.tanh((at[0] - 8) / 18))
    thickness = vault * np.clip(1 + 0.2 * lumps, 0.5, 1.6)
    skull = np.asarray(cavity - thickness, dtype=np.float32)
    fat = np.float32(np.clip(rng.lognormal(1.15, 0.4), 1.5, 8)) * np.clip(1 + 0.2 * lumps, 0.5, 1.6)
    temporal = np.minimum(*(ellipsoid(at, (-26, -32, 57 * s), (38, 36, 12)) for s in (-1, 1)))
    masseter = np.minimum(*(ellipsoid(at, (-75, -50, 50 * s), (36, 22, 12)) for s in (-1, 1)))
    face = ellipsoid(at, (-72, -42, 0), (66, 50, 58))
    neck = np.hypot((at[1] - 14 + 0.1 * (at[0] + 100)) / 1.1, at[2]) - 54
    neck = np.maximum(neck, at[0] + 52).astype(np.float32)
    flesh = smooth_min(smooth_min(skull - 1.5, temporal, 16), smooth_min(face, neck, 20), 12)
    nose = ellipsoid(at, (-52, -94, 0), (20, 20, 13))
    flesh = smooth_min(flesh, nose, 10)
    skin = flesh - fat - 2
    for s in (-1, 1):
        ear = ellipsoid(at, (-42, 18, 77 * s), (28, 14, 6))
        skin = smooth_min(skin, ear, 3)
    surface.paint(skin, "skin")
    surface.paint(skin + 2, "fat")
    surface.paint(flesh, "muscle")
    planes = np.abs(wander) * 14 - (1.2 + 1.5 * lumps) + 0.5 * streaks
    deep = np.maximum(planes, np.maximum(flesh + 1, -np.minimum(temporal, masseter)))
    surface.paint(np.maximum(deep, -skull).astype(np.float32), "fat", share=0.8)
    paint_face(surface, rng, flesh, streaks)
    surface.paint(skull, "bone")
    surface.paint(np.maximum(skull + 1.8, 1.8 - cavity) + 0.4 * streaks, "marrow", share=0.8)
    paint_air_cells(surface, rng, streaks)
    surface.paint(cavity, "csf")
    canal = [(-62, 17, 0), (-90, 24, 0), (-150, 27, 0)]
    surface.long_bone(canal, 17, "bone", "marrow", 2)
    surface.tube(canal, [13, 10, 9], "csf")
    return cavity


def paint_face(surface: TissueMap, rng: np.random.Generator, flesh: Field, streaks: Field) -> None:
    """Paint orbits with eyes, facial bones, sinuses, the nasal cavity and the throat."""
    for s in (-1, 1):
        surface.ellipsoid((-36, -66, 31 * s), (21, 27, 21), "bone")
        distance, where = surface.ellipsoid_distance((-36, -64, 31 * s), (18, 28, 18), 0.35 * s)
        surface.paint(np.maximum(distance, flesh[where]), "fat", where)
        cone = (-34, -34, 14 * s)
        surface.tube([cone, (-35, -62, 30 * s)], [2, 2], "white")
        for dz, dx in ((11, 0), (-11, 0), (0, 11), (0, -11)):
            surface.tube([cone, (-35 + dz, -64, 31 * s + dx)], [1.5, 2], "muscle")
        surface.ellipsoid((-35, -68, 32 * s), (13, 13, 13), "skin")
        surface.ellipsoid((-35, -68, 32 * s), (11.8, 11.8, 11.8), "vitreous")
        surface.ellipsoid((-35, -76, 32 * s), (4.5, 2, 4.5), "muscle")
        surface.ellipsoid((-62, -60, 26 * s), (19, 19, 16), "bone")
        surface.ellipsoid((-62, -60, 26 * s), (17, 17, 14), "air")
    surface.ellipsoid((-38, -64, 0), (18, 30, 15), "bone")
    distance, where = surface.ellipsoid_distance((-38, -64, 0), (16, 28, 13))
    surface.paint(np.maximum(distance, 0.6 - np.abs(streaks[where]) * 4), "air", where)
    distance, where = surface.ellipsoid_distance((-62, -68, 0), (16, 34, 14))
    surface.paint(distance, "muscle", where)
    surface.paint(np.maximum(distance, 1.5 - np.abs(streaks[where]) * 5), "air", where)
    surface.tube([(-58, -36, 0), (-80, -24, 0), (-140, -20, 0)], [9, 8, 9], "air")
    surface.ellipsoid((-86, -66, 0), (6, 30, 24), "bone")
    for s in (-1, 1):
        surface.tube([(-45, 2, 48 * s), (-92, 0, 44 * s), (-112, -60, 18 * s)], [6, 8, 9], "bone")
        surface.tube([(-45, 2, 48 * s), (-92, 0, 44 * s), (-112, -60, 18 * s)], [3, 5, 6], "marrow")


def paint_air_cells(surface: TissueMap, rng: np.random.Generator, streaks: Field) -> None:
    """Paint the base of the skull, and the frontal sinuses, sphenoid sinus and mastoid cells within it."""
    surface.ellipsoid((-36, -10, 0), (16, 30, 18), "marrow")
    for s in (-1, 1):
        surface.ellipsoid((-42, 14, 38 * s), (11, 12, 24), "bone", 0.4 * s)
        distance, where = surface.ellipsoid_distance((-46, 28, 54 * s), (22, 16, 13))
        surface.paint(distance, "bone", where)
        surface.paint(np.maximum(distance + 2, streaks[where] * 4), "air", where)
        surface.tube([(-44, 12, 64 * s), (-42, 10, 50 * s)], [3.5, 3], "air")
        radii = rng.uniform(0.3, 1.0) * np.array([15, 5, 14])
        surface.ellipsoid((-8, -85, 11 * s), radii + 2, "bone")
        surface.ellipsoid((-8, -85, 11 * s), radii, "air")
    surface.ellipsoid((-32, -28, 0), rng.uniform(0.6, 1.1) * np.array([10, 14, 12]), "air")


def paint_vessels(surface: TissueMap, rng: np.random.Generator, cavity: Field) -> None:
    """Paint the dura between the hemispheres, the venous sinuses and the arteries of the base."""
    z, y, x = surface.at
    falx = np.maximum(np.maximum(np.abs(x) - 0.5, cavity), -ellipsoid(surface.at, (0, -8, 0), (34, 47, 60)))
    surface.paint(np.maximum(falx, 6 - 0.3 * y - z).astype(np.float32), "muscle")
    angles = np.linspace(-0.9, 3.3, 22)
    arc = [(2 + 73 * np.sin(t) - (4 if t > 2.6 else 0), -86 * np.cos(t), 0.0) for t in angles]
    surface.tube(arc, np.linspace(1, 4, 22).tolist(), "vessel")
    for s in (-1, 1):
        calibre = rng.uniform(2.5, 5)
        surface.tube(
            [(-10, 84, 2 * s), (-20, 66, 42 * s), (-30, 38, 55 * s), (-52, 22, 42 * s)], [calibre] * 4, "vessel"
        )
        surface.tube(
            [(-120, 0, 32 * s), (-60, 2, 26 * s), (-42, -4, 22 * s), (-36, -16, 10 * s)], [4, 3, 3, 3], "vessel"
        )
        surface.tube([(-36, -16, 10 * s), (-26, -22, 11 * s), (-18, -18, 12 * s)], [2.6, 2.6, 2.2], "vessel")
        surface.tube([(-18, -18, 12 * s), (-16, -20, 30 * s), (-8, -12, 40 * s)], [1.8, 1.5, 1.2], "vessel")
        surface.tube([(-18, -18, 12 * s), (-12, -32, 3 * s), (8, -50, 2 * s), (32, -24, 2 * s)], [1.4] * 4, "vessel")
        surface.tube([(-14, -6, 0), (-12, 6, 18 * s), (-2, 30, 16 * s)], [1.6, 1.4, 1.1], "vessel")
        surface.tube([(-130, 12, 14 * s), (-66, 8, 9 * s), (-44, -10, 1 * s)], [2, 2, 1.8], "vessel")
    surface.tube([(-44, -10, 0), (-14, -8, 0)], [1.9, 1.9], "vessel")


def paint_lesions(surface: TissueMap, rng: np.random.Generator, wander: Field) -> None:
    """Paint, in some heads, spots in the white matter, and in some a tumour with oedema or an infarct."""
    for _ in range(rng.poisson(6) if rng.random() < 0.3 else 0):
        place = rng.uniform((8, -45, 14), (38, 45, 34)) * (1, 1, rng.choice([-1, 1]))
        surface.ellipsoid(place, rng.uniform(1.2, 3.5, 3), "lesion")
    if rng.random() < 0.25:
        place = rng.uniform((-8, -50, 24), (45, 55, 48)) * (1, 1, rng.choice([-1, 1]))
        radii = rng.uniform(9, 24) * rng.uniform(0.8, 1.25, 3)
        distance, where = surface.ellipsoid_distance(place, radii + 6)
        surface.paint(distance + 6 + 5 * wander[where], "lesion", where, float(rng.uniform(0.45, 0.95)))
        if rng.random() < 0.5:
            distance, where = surface.ellipsoid_distance(place, radii * 0.45)
            surface.paint(distance + 2 * wander[where], str(rng.choice(["csf", "grey", "deep grey"])), where)
