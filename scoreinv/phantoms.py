"""Random CT anatomies in Hounsfield units, drawn from a seed.

One reference patient is described in millimetres along the whole body axis (diaphragm dome near 0, lung apex near
+210, skull vertex near +520, hip joints near -345) as signed distances to surfaces: superellipse columns for trunk and
body cavity, ellipsoids for organs, tapered capsules for vessels and long bones, and periodic patterns along the axis
for vertebrae and ribs. A seed draws the level the box is centred on, the patient's size, build, tilt, contrast phase
and organ positions, and a smooth random displacement of space that makes every surface irregular.

Structures are painted in order, later ones over earlier ones: body wall, arms, organs and airways here, deep muscles,
the other bones and the head by scoreinv.skeleton, all on the surface of scoreinv.canvas. Everything random is drawn in
millimetres before sampling (noise on a lattice centred on the box), so shape and voxel size only choose where the same
anatomy is sampled. Points are (z, y, x) in mm, towards the patient's Superior, Posterior and Left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scoreinv.canvas import Canvas, Field, Point, profile, smooth_noise, superellipse
from scoreinv.skeleton import (
    CAVITY,
    paint_deep_muscles,
    paint_head,
    paint_pelvis,
    paint_ribs,
    paint_shoulders,
    paint_spine,
)

Uptake = Callable[[float | Field, str | None], float | Field]

AIR, FAT, WATER = -1000.0, -100.0, 5.0

# Half width and half depth (mm) of the trunk under its fat, by level (mm).
TRUNK = np.array(
    [
        [-900, 130, 70],
        [-400, 158, 95],
        [-300, 148, 95],
        [-180, 132, 86],
        [-100, 138, 94],
        [0, 146, 100],
        [80, 152, 101],
        [150, 160, 96],
        [185, 182, 86],
        [212, 165, 74],
        [235, 95, 62],
        [258, 60, 57],
        [330, 56, 60],
    ],
    dtype=np.float64,
)
# Fat under the skin, as a multiple of the thickness drawn for the patient, by level (mm).
FAT_SHARE = np.array(
    [
        [-500, 1.1],
        [-380, 1.2],
        [-100, 1.0],
        [80, 0.6],
        [190, 0.6],
        [260, 0.35],
        [330, 0.2],
    ],
    dtype=np.float64,
)

# Directions from the hilum (left side) in which the trunks of the pulmonary vessels set out.
LOBES = ((1.0, 0.1, 0.5), (0.5, -0.8, 0.7), (0.1, 0.7, 0.7), (-0.8, 0.5, 0.4), (-0.7, -0.3, 0.8), (0.1, -0.1, 1.0))


def body(seed: int, shape: tuple[int, int, int], voxel_size: tuple[float, float, float]) -> torch.Tensor:
    """Random anatomy, float32 (z, y, x) in HU, centred on a box of shape voxels of voxel_size mm.

    Axes point to the patient's Superior, Posterior and Left. The seed alone fixes the anatomy.
    Raises ValueError for a negative seed, a shape that is not 3 positive ints or a voxel size not 3 positive floats.
    """
    return torch.from_numpy(np.clip(paint_body(seed, shape, voxel_size).hu, -1000, 3000).astype(np.float32))


def paint_body(
    seed: int, shape: tuple[int, int, int], voxel_size: tuple[float, float, float], uptake: Uptake | None = None
) -> Canvas:
    """The painted canvas of `body`, with a second layer where the uptake of tissues is given."""
    check(seed, shape, voxel_size)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    axes = [((np.arange(n) - (n - 1) / 2) * d) for n, d in zip(shape, voxel_size, strict=True)]
    canvas = place_patient(rng, axes, float(np.prod(voxel_size) ** (1 / 3)), uptake)
    streaks, lumps, fine, coarse = (smooth_noise(rng, axes, s, c) for s, c in ((16, 24), (60, 8), (4.0, 80), (9, 40)))
    skin = paint_wall(canvas, rng, streaks, lumps)
    cavity = superellipse(canvas, CAVITY, -8.0, 2.3)
    canvas.paint(cavity, FAT - 5)
    contrast = float(rng.choice([0.0, 0.0, 0.5, 1.0]) * rng.uniform(0.6, 1.0))
    heart = (45 + rng.normal(0, 6), -28 + rng.normal(0, 4), 26 + rng.normal(0, 5))
    dome = diaphragm(canvas, rng)
    paint_lungs(canvas, rng, cavity, dome, heart, coarse)
    paint_abdomen(canvas, rng, cavity, dome, contrast)
    paint_bowel(canvas, rng, cavity, dome)
    paint_heart(canvas, rng, heart, contrast)
    paint_deep_muscles(canvas, rng)
    density = float(rng.uniform(0.65, 1.2))
    paint_spine(canvas, rng, density, coarse)
    paint_ribs(canvas, rng, cavity, density)
    paint_shoulders(canvas, rng, density)
    paint_pelvis(canvas, rng, cavity, density)
    paint_head(canvas, rng, density, streaks)
    paint_airway(canvas, rng)
    paint_calcifications(canvas, rng)
    drift = smooth_noise(rng, axes, 110, 6)
    grain = rng.uniform(7, 18) * (0.8 * fine + 0.6 * coarse) + rng.uniform(2, 8) * drift
    # A head is thinner than a trunk and scanned at lower noise.
    quiet = np.interp(canvas.axes[0], [250, 350], [1.0, 0.45])[:, None, None].astype(np.float32)
    canvas.layers[0] += quiet * grain * canvas.coverage(skin)
    return canvas


def check(seed: int, shape: Any, voxel_size: Any) -> None:
    """Refuse arguments that cannot describe a volume, with ValueError."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: expected an int >= 0, got {seed!r}; pass a non-negative int")
    if len(shape) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise ValueError(f"shape: expected 3 positive ints (z, y, x), got {shape!r}; pass e.g. (48, 128, 128)")
    if len(voxel_size) != 3 or not all(np.isfinite(d) and d > 0 for d in voxel_size):
        raise ValueError(f"voxel_size: expected 3 positive mm (z, y, x), got {voxel_size!r}; pass e.g. (3.0, 3.0, 3.0)")


def draw_level(rng: np.random.Generator) -> float:
    """Level (mm) of the box centre: 15 % head, 15 % pelvis, else chest or abdomen."""
    low, high = [(350, 465), (-390, -240), (-190, 185)][rng.choice(3, p=[0.15, 0.15, 0.7])]
    return float(rng.uniform(low, high))


def place_patient(
    rng: np.random.Generator, axes: Sequence[Field], voxel: float, uptake: Uptake | None = None
) -> Canvas:
    """Empty canvas whose coordinates are the patient's: level, position, size, tilt and smooth displacement."""
    level = draw_level(rng)
    size = rng.uniform(0.93, 1.07) * np.array([1.0, rng.uniform(0.93, 1.08), rng.uniform(0.93, 1.08)])
    shift = np.array([0.0, rng.normal(-12, 10), rng.normal(0, 10)])
    straight = [
        ((axis - s) / k + o).astype(np.float32)
        for axis, s, k, o in zip(axes, shift, size, (level, 0.0, 0.0), strict=True)
    ]
    tilt = rng.normal(0, 0.035)
    z, y, x = np.meshgrid(*straight, indexing="ij")
    wobble = [rng.uniform(2.5, 5) * smooth_noise(rng, axes, 42, 12) for _ in range(3)]
    at = (z + wobble[0], y + wobble[1] + np.float32(tilt) * x, x + wobble[2] - np.float32(tilt) * y)
    reach = [float(np.abs(a - b).max()) for a, b in zip(at, (z, y, x), strict=True)]
    layers = np.zeros((1 if uptake is None else 2, *z.shape), dtype=np.float32)
    layers[0] = AIR
    return Canvas((straight[0], straight[1], straight[2]), at, (reach[0], reach[1], reach[2]), voxel, layers, uptake)


def paint_wall(canvas: Canvas, rng: np.random.Generator, streaks: Field, lumps: Field) -> Field:
    """Paint table, skin, fat and muscle; return the signed distance (mm) to the skin."""
    thickness = float(np.clip(rng.lognormal(2.8, 0.45), 5, 42))
    z, _, x = canvas.at
    muscle = superellipse(canvas, TRUNK, 5.0, 2.4)
    for centre, radii in (((427, 2, 0), (94, 98, 76)), ((358, -34, 0), (68, 62, 58)), ((366, -98, 0), (22, 18, 13))):
        distance, where = canvas.ellipsoid_distance(centre, radii)
        muscle[where] = np.minimum(muscle[where], distance)
    legs = 8 + 0.15 * (z + 430) - np.abs(x)
    muscle = np.maximum(muscle, np.where(z < -430, legs, -50))
    fat = thickness * profile(FAT_SHARE, 1, z) * np.clip(1 + 0.25 * lumps, 0.4, 1.8) + streaks + 2
    skin = np.asarray(muscle - fat, dtype=np.float32)
    paint_table(canvas, rng, thickness)
    arms = rng.random() < 0.3
    for side in (-1, 1):
        breast, where = canvas.ellipsoid_distance((75, -95, 75 * side), (62, 30 + thickness, 62))
        if thickness > 15:
            skin[where] = np.minimum(skin[where], breast)
        arm, where = canvas.capsule_distance((190, 20, 185 * side), (-420, 15, 250 * side), 52, 36)
        if arms:
            skin[where] = np.minimum(skin[where], arm)
            muscle[where] = np.minimum(muscle[where], arm + 4 + thickness / 3)
    canvas.paint(skin, 10.0)
    canvas.paint(skin + 2, rng.uniform(-112, -95) + 8 * streaks)
    canvas.paint(muscle, rng.uniform(45, 62))
    # Planes between muscles: level sets of depth below the fat, bent by noise, open only where the lumps are high.
    plane = np.abs(np.abs(streaks + 0.05 * muscle + 0.9) * 13) - np.clip(rng.uniform(0.2, 1.6) + 1.6 * lumps, -2, 3)
    canvas.paint(np.maximum(plane, muscle + 2), FAT + 25)
    if arms:
        for side in (-1, 1):
            canvas.long_bone([(190, 20, 180 * side), (-420, 15, 250 * side)], 12, 1100, 60, 4)
    return skin


def paint_table(canvas: Canvas, rng: np.random.Generator, thickness: float) -> None:
    """Paint the couch: a thin curved shell filled with foam, under the patient's back."""
    _, y, x = canvas.axes
    back = 110 + 0.9 * thickness + rng.uniform(0, 8)
    bend, width, depth = rng.uniform(0.0004, 0.0016), rng.uniform(190, 250), rng.uniform(15, 50)
    top = y[:, None] - back + np.float32(bend) * np.square(x)[None] - 8
    slab = np.maximum(
        np.maximum(-top, top - depth * np.clip(1.2 - np.square(x / width), 0.15, 1)[None]), np.abs(x)[None] - width
    )
    flat = np.broadcast_to(slab.astype(np.float32)[None], canvas.hu.shape)
    table = canvas.named("table")
    table.paint(flat, rng.uniform(-500, 100))
    table.paint(flat + rng.uniform(1.5, 3), rng.uniform(-990, -900))


def diaphragm(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Height (mm) of each voxel above the diaphragm: two domes falling steeply to the cavity wall."""
    z, y, x = canvas.at
    edge = np.square(x / 128) + np.square((y + 14) / 84)
    top = rng.uniform(-15, 30) - rng.uniform(5, 20) * np.tanh(x / 40) - 16 * np.exp(-np.square(x / 28))
    return np.asarray(z - (top - rng.uniform(65, 95) * edge**1.5), dtype=np.float32)


def paint_lungs(
    canvas: Canvas, rng: np.random.Generator, cavity: Field, dome: Field, heart: Point, texture: Field
) -> None:
    """Paint both lungs around the mediastinum, with texture, fissures, vessels, nodules and effusion."""
    z, y, x = canvas.at
    middle = 10 + rng.uniform(14, 20) * np.exp(-np.square((y - 5) / 32)) + 14 * np.exp(-np.square((y - 62) / 17))
    lung = np.maximum(np.maximum(cavity + 2, 1 - dome), middle - np.abs(x)).astype(np.float32)
    pericardium, where = canvas.ellipsoid_distance(heart, (54, 44, 64), 0.6)
    lung[where] = np.maximum(lung[where], -pericardium)
    base, gravity = rng.uniform(-900, -810), rng.uniform(0.1, 0.6)
    canvas.paint(lung, base + gravity * y + rng.uniform(8, 30) * texture)
    if rng.random() < 0.12:
        effusion = np.maximum(lung, np.float32(rng.uniform(25, 60)) - y - 0.1 * np.abs(x))
        canvas.paint(effusion, rng.uniform(0, 20))
    inside = canvas.coverage(lung)
    before = canvas.layers.copy()
    canvas.sheet(z - 0.9 * y - 70, 1.0, -500)
    for side in (-1, 1):
        for heading in LOBES + LOBES:
            grow_vessels(canvas, rng, np.asarray(heading) * (1, 1, side), rng.uniform(4.0, 6.5))
    for _ in range(rng.poisson(1.5)):
        centre = rng.uniform((0, -60, 40), (160, 60, 110)) * (1, 1, rng.choice([-1, 1]))
        canvas.ellipsoid(centre, rng.uniform(2.5, 11, 3), rng.uniform(-100, 60))
    canvas.layers[:] = before + inside * (canvas.layers - before)


def grow_vessels(canvas: Canvas, rng: np.random.Generator, heading: NDArray[np.float64], radius: float) -> None:
    """Paint one pulmonary vessel tree that forks outwards from the hilum until its branches are thin."""
    hilum = np.array([82 + rng.normal(0, 10), 12.0, 30 * np.sign(heading[2])])
    heading = heading + rng.normal(0, 0.3, 3)
    fronts = [(hilum, heading / np.linalg.norm(heading), radius)]
    while fronts:
        at, heading, radius = fronts.pop()
        end = at + heading * (6 + 3.6 * radius) * rng.uniform(0.7, 1.3)
        thin = radius * rng.uniform(0.75, 0.9)
        canvas.tube([at, end], [radius, thin], 45.0)
        if thin > 0.65:
            for share in (0.95, 0.75):
                turn = heading + rng.normal(0, 0.42 if share > 0.9 else 0.75, 3)
                fronts.append((end, turn / np.linalg.norm(turn), thin * share))


def paint_heart(canvas: Canvas, rng: np.random.Generator, heart: Point, contrast: float) -> None:
    """Paint heart, its chambers, the aorta, the pulmonary trunk, the great veins and the oesophagus."""
    blood = rng.uniform(36, 48)
    arterial, venous = blood + contrast * rng.uniform(80, 320), blood + contrast * rng.uniform(40, 280)
    z, y, x = heart
    canvas.ellipsoid(heart, (53, 43, 62), FAT + 10, 0.6)
    canvas.named("myocardium").ellipsoid(heart, (50, 40, 59), blood + 4 + 60 * contrast, 0.6)
    vessels = canvas.named("blood")
    vessels.ellipsoid((z - 4, y + 4, x + 17), (27, 15, 28), arterial, 0.6)
    vessels.ellipsoid((z + 18, y + 27, x - 6), (20, 14, 26), arterial)
    vessels.ellipsoid((z - 6, y - 17, x - 14), (27, 13, 27), venous, 0.6)
    vessels.ellipsoid((z + 5, y + 4, x - 38), (25, 18, 17), venous)
    root, arch = (z + 18, y + 3, x - 24), 138 + rng.normal(0, 6)
    calibre = rng.uniform(11, 16)
    vessels.tube([(z + 20, y - 22, x - 10), (96, -26, 8), (103, -2, 18)], [13, 13, 11], venous)
    vessels.tube([(100, 0, 32), (98, 4, 2), (96, 4, -34)], [11, 10, 9], venous)
    vessels.tube([(-40, 18, -22), (z, 8, -36), (110, -8, -26), (170, -16, -24)], [13, 12, 9, 8], venous)
    vessels.tube(
        [root, (100, -20, -14), (arch - 8, -8, -6), (arch, 12, 8), (arch - 14, 32, 20), (90, 44, 22)],
        [calibre + 2, calibre + 1, calibre, calibre - 1, calibre - 2, calibre - 2],
        arterial,
    )
    vessels.tube(
        [(90, 44, 22), (0, 36, 18), (-90, 20, 6), (-205, 14, 3)],
        [calibre - 2, calibre - 3, calibre - 4, calibre - 5],
        arterial,
    )
    vessels.tube([(-40, 18, -22), (-120, 22, -20), (-205, 20, -16)], [13, 11, 11], venous * 0.6 + 16)
    for side in (-1, 1):
        vessels.tube(
            [(-205, 16, 3 * side), (-290, 25, 55 * side), (-345, -45, 78 * side), (-600, -40, 85 * side)],
            [8, 6, 5, 4],
            arterial,
        )
        vessels.tube([(arch, 2, 8 * side), (185, 0, 22 * side), (330, -8, 26 * side)], [6, 5, 4], arterial)
        vessels.tube([(165, -14, -15), (190, -14, 28 * side), (330, -2, 33 * side)], [7, 7, 5], venous)
        canvas.named("thyroid").ellipsoid((225, -18, 22 * side), (24, 10, 9), 90 + 80 * contrast)
    canvas.tube([(250, 8, 2), (110, 28, 3), (0, 22, 14)], [7, 7, 8], 35.0)


def paint_abdomen(canvas: Canvas, rng: np.random.Generator, cavity: Field, dome: Field, contrast: float) -> None:
    """Paint liver, spleen, stomach, kidneys, pancreas, gall bladder and bladder, held by cavity and diaphragm."""
    limit = np.maximum(cavity + 3, dome + 2)

    def organ(name: str, centre: Point, radii: Point, value: float, turn: float = 0.0, jitter: float = 6.0) -> None:
        place = np.asarray(centre) + rng.normal(0, jitter, 3)
        distance, where = canvas.ellipsoid_distance(place, np.asarray(radii) * rng.uniform(0.88, 1.12, 3), turn)
        canvas.named(name).paint(np.maximum(distance, limit[where]), value, where)

    liver = rng.uniform(45, 68) + 50 * contrast
    organ("liver", (-40, -8, -72), (98, 88, 80), liver)
    organ("liver", (-15, -42, -5), (55, 45, 85), liver)
    for _ in range(8):
        start = np.array([-60, 0, -40]) + rng.normal(0, 8, 3)
        canvas.named("liver").tube(
            [start, start + rng.normal(0, 25, 3) + (15, 0, -25)], [5, 2], liver + rng.choice([-12, 30])
        )
    for _ in range(rng.poisson(1.2)):
        organ("cyst", rng.uniform((-90, -50, -110), (0, 50, -40)), rng.uniform(4, 18, 3), liver - rng.uniform(15, 50))
    organ("gall bladder", (-75, -50, -48), (22, 18, 14), 10.0)
    organ("spleen", (-35, 38, 100), (48, 42, 26), rng.uniform(42, 58) + 60 * contrast, 0.6)
    gullet = np.array([-35, -28, 62]) + rng.normal(0, 6, 3)
    size = np.array([55, 36, 40]) * rng.uniform(0.75, 1.15, 3)
    wall, where = canvas.ellipsoid_distance(gullet, size, -0.4)
    wall = np.maximum(wall, limit[where])
    canvas.named("stomach").paint(wall, 45.0, where)
    canvas.paint(wall + 5, rng.choice([10.0, 30.0, 250.0], p=[0.5, 0.35, 0.15]), where)
    level = gullet[1] + rng.uniform(-0.7, 0.3) * size[1]
    canvas.paint(np.maximum(wall + 5, canvas.at[1][where] - np.float32(level)), -980.0, where)
    organ("pancreas", (-95, -5, 15), (13, 13, 55), 38 + 50 * contrast)
    for side in (-1, 1):
        centre = np.array([-108 + 10 * side, 42, 62 * side]) + rng.normal(0, 4, 3)
        kidney = 32 + contrast * rng.uniform(100, 180)
        canvas.named("kidney").ellipsoid(centre, (55, 29, 27), kidney, 0.6 * side)
        canvas.named("renal pelvis").ellipsoid(
            centre + np.array([0, -4, -14 * side]), (24, 12, 13), FAT + 40, 0.6 * side
        )
        if rng.random() < 0.3:
            canvas.ellipsoid(centre + rng.normal(0, 18, 3), rng.uniform(4, 16, 3), WATER)
    organ("bladder", (-335, -25, 0), (32, 32, 40), WATER + 5)
    organ("uterus or prostate", (-330, 22, 0), (28, 20, 26), 50 + 40 * contrast)


def paint_bowel(canvas: Canvas, rng: np.random.Generator, cavity: Field, dome: Field) -> None:
    """Paint colon and small bowel as wandering tubes: wall, content and anterior gas."""
    frame = [
        (-280, 5, -88),
        (-150, 15, -98),
        (-105, -45, -75),
        (-125, -62, 0),
        (-80, -45, 80),
        (-150, 25, 100),
        (-280, 25, 88),
        (-310, 5, 25),
        (-345, 52, 5),
        (-400, 62, 0),
    ]
    loops = [(np.asarray(frame, float) + rng.normal(0, 7, (10, 3)), 17.0, 0.6)]
    for _ in range(12):
        start = rng.uniform((-310, -60, -75), (-110, 10, 75))
        loops.append((start + np.cumsum(rng.normal(0, 20, (6, 3)), axis=0), rng.uniform(9, 14), 0.25))
    for path, radius, gassy in loops:
        path[:, 1:] = np.clip(path[:, 1:], (-66, -103), (62, 103))
        for start, end in pairwise(path):
            first, last = rng.uniform(0.75, 1.3, 2) * radius
            distance, where = canvas.capsule_distance(start, end, first, last)
            distance = np.maximum(distance, np.maximum(cavity[where] + 2, dome[where] + 12))
            canvas.named("bowel").paint(distance, 40.0, where)
            canvas.paint(distance + 3, rng.choice([20.0, -60.0, 220.0], p=[0.65, 0.25, 0.1]), where)
            level = (start[1] + end[1]) / 2 + rng.uniform(-0.6, 0.8) * radius
            gas = np.maximum(distance + 3, canvas.at[1][where] - np.float32(level))
            canvas.paint(gas, -950.0, where, float(rng.random() < gassy))


def paint_airway(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint pharynx, trachea and main bronchi: cartilage wall around air."""
    radius = rng.uniform(7, 9.5)
    fork = (102 + rng.normal(0, 5), 12.0, 0.0)
    neck = [(372, -28, 0), (335, -18, 0), (290, -14, 0), (240, -16, 0), (170, 2, 0), fork]
    for wall, value in ((2.0, 60.0), (0.0, -990.0)):
        canvas.tube(neck, [wall + r for r in (9, 7, 6, radius, radius, radius)], value)
        for side in (-1, 1):
            hilum = (78, 18, 34 * side)
            lower = [fork, hilum, (50, 26, 52 * side), (15, 34, 66 * side)]
            upper = [hilum, (100, 0, 58 * side), (130, -10, 70 * side)]
            canvas.tube(lower, [wall / 2 + r for r in (7, 5, 3, 1.5)], value)
            canvas.tube(upper, [wall / 2 + r for r in (4, 2.5, 1.5)], value)


def paint_calcifications(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a few small dense deposits on vessel walls and in nodes."""
    for _ in range(rng.poisson(5)):
        centre = (rng.uniform(-200, 140), 30 + rng.normal(0, 12), 10 + rng.normal(0, 14))
        canvas.ellipsoid(centre, rng.uniform(1, 4, 3), rng.uniform(250, 900))
