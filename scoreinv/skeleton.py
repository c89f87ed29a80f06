"""Bones, the muscles along the spine, and the head with brain and face, painted on the reference patient.

Vertebrae and ribs are periodic patterns along the body axis; pelvis and ribs follow the wall of the body cavity; long
bones and joints are capsules and spheres with a cortical shell. Levels and positions are those of the reference patient
of scoreinv.phantoms: (z, y, x) in mm, towards the patient's Superior, Posterior and Left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scoreinv.canvas import Canvas, Field, Point, profile

# Half width and half depth (mm) of the body cavity by level (mm).
CAVITY = np.array(
    [
        [-395, 42, 36],
        [-345, 58, 54],
        [-260, 98, 66],
        [-180, 116, 70],
        [-100, 123, 77],
        [0, 129, 84],
        [80, 122, 80],
        [140, 104, 68],
        [190, 70, 50],
        [215, 42, 30],
        [230, 15, 12],
    ],
    dtype=np.float64,
)
# Depth (mm) of the spine behind the body axis, by level (mm).
SPINE_DEPTH = np.array(
    [
        [-420, 84],
        [-330, 84],
        [-260, 64],
        [-180, 42],
        [-100, 45],
        [0, 55],
        [100, 61],
        [180, 48],
        [240, 25],
        [330, 14],
    ],
    dtype=np.float64,
)


def paint_deep_muscles(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint the erector spinae, psoas and gluteal columns beside the spine, with fat between."""
    value = rng.uniform(42, 60)
    for side in (-1, 1):
        levels = np.arange(-250.0, 330.0, 40.0)
        back = np.interp(levels, SPINE_DEPTH[:, 0], SPINE_DEPTH[:, 1]) + 28
        girth = np.interp(levels, [-250, -150, 80, 330], [14, 22, 15, 11])
        canvas.tube([(z, y, 25.0 * side) for z, y in zip(levels, back, strict=True)], girth.tolist(), value)
        canvas.tube(
            [(-70, 42, 28 * side), (-180, 38, 44 * side), (-280, 18, 66 * side), (-375, -10, 95 * side)],
            [8, 20, 20, 15],
            value,
        )


def paint_spine(canvas: Canvas, rng: np.random.Generator, density: float, texture: Field) -> None:
    """Paint vertebrae (body, arch, processes) repeated along the axis, discs between them and the spinal canal."""
    where = canvas.window((-235, -60, -60), (338, 170, 60))
    z, y, x = (axis[where] for axis in canvas.at)
    y = y - profile(SPINE_DEPTH, 1, z) - 2
    width = np.interp(z, [-330, -150, 100, 250, 330], [27, 25, 17, 12, 11]).astype(np.float32)
    stretch = np.interp(z, [-420, -150, 60, 250, 340], [-13.5, -5.5, 2.0, 9.8, 15.8]).astype(np.float32)
    phase = stretch + rng.random()
    pitch = np.interp(z, [-200, 60, 300], [34, 27, 16]).astype(np.float32)
    along = (phase - np.round(phase)) * pitch
    trim = np.maximum(z - 338, -232 - z)
    waist = width * (0.88 + 0.4 * np.square(along / pitch))
    column = np.hypot(x, y * 1.25) - waist
    cortex, marrow = density * rng.uniform(480, 750), density * rng.uniform(140, 240) + 20 * texture[where]
    canvas.paint(np.maximum(column, trim), 85.0, where)
    block = np.maximum(np.maximum(column, np.abs(along) - pitch / 2 + 2.6), trim)
    canvas.paint(block, cortex, where)
    canvas.paint(block + 1.8, marrow, where)
    hole = y - 0.8 * width - 8
    arch = np.maximum(np.abs(np.hypot(x, hole) - 12) - 3.2, np.abs(along) - 0.36 * pitch)
    slant = along + 0.35 * (hole - 10)
    spinous = np.maximum(np.hypot(x, 0.35 * slant) - 3.5, np.abs(hole - 18) - 10)
    flare = np.hypot(hole + 0.25 * np.abs(x) - 2, along - 3) - 5.5
    transverse = np.maximum(flare, np.maximum(np.abs(x) - width - 14, 11 - np.abs(x)))
    canal = np.maximum(np.hypot(x, hole) - 9, trim)
    for piece in (arch, spinous, transverse):
        piece = np.maximum(np.maximum(piece, trim), -canal)
        canvas.paint(piece, cortex, where)
        canvas.paint(piece + 2.2, marrow, where)
    canvas.paint(canal, 12.0, where)
    canvas.paint(np.maximum(np.hypot(x, hole) - 5.5, trim), 38.0, where)


def paint_ribs(canvas: Canvas, rng: np.random.Generator, cavity: Field, density: float) -> None:
    """Paint ribs as oblique hoops on the cavity wall, cartilage in front, and the sternum."""
    z, y, x = canvas.at
    pitch = rng.uniform(25, 29)
    slope = rng.uniform(0.4, 0.6)
    phase = (z - slope * y - 6 * np.abs(x) / 60) / pitch + rng.random()
    height = (phase - np.round(phase)) * pitch * 0.88
    outward = cavity - 5.0
    rib = (np.hypot(height / 6.5, outward / 4.2) - 1) * 4.2
    bounds = np.maximum(z - 205, np.maximum(-115 - z, -0.55 * (z + 20) - 40 - y))
    rib = np.maximum(rib, bounds)
    gristle = np.maximum(rib, np.maximum(-z - 40, y + 62))
    bony = np.maximum(rib, 58 - np.abs(x) - np.maximum(y + 30, 0) * 2)
    canvas.paint(gristle, rng.uniform(80, 140))
    canvas.bone(np.asarray(bony, np.float32), density * 900, density * rng.uniform(150, 300), 1.6)
    front = -8 - np.interp(canvas.axes[0], CAVITY[:, 0], CAVITY[:, 2]).astype(np.float32)[:, None, None] - 5
    plate = np.hypot(np.maximum(np.abs(x) - 12, 0), y - front) - 6
    canvas.bone(np.maximum(plate, np.abs(z - 95) - 78), density * 550, density * 150, 1.6)


def paint_shoulders(canvas: Canvas, rng: np.random.Generator, density: float) -> None:
    """Paint clavicles, scapulae and humeral heads."""
    cortex, marrow = density * 950, density * 180
    lift = rng.normal(0, 6)
    for side in (-1, 1):
        clavicle = [(182, -62, 14 * side), (196, -56, 70 * side), (206, -10, 150 * side)]
        spine = [(188 + lift, 62, 70 * side), (198, 45, 120 * side), (204, 10, 155 * side)]
        canvas.long_bone(clavicle, 7, cortex, marrow, 2.5)
        canvas.long_bone(spine, 6, cortex, marrow, 2)
        for height in np.arange(70.0, 186.0, 8.0):
            inner = np.array([height, 88, (62 - 0.05 * (height - 70)) * side])
            outer = np.array([height, 66, (100 + 0.35 * (height - 70)) * side])
            canvas.tube([inner, outer], [3.0, 5.5], cortex * 0.75)
        canvas.bone(*ball(canvas, (185, 15, 158 * side), 24, cortex, marrow))


def ball(canvas: Canvas, centre: Point, radius: float, cortex: float, marrow: float) -> tuple[Any, ...]:
    """Arguments of Canvas.bone for a spherical joint head (mm)."""
    distance, where = canvas.ellipsoid_distance(centre, (radius, radius, radius))
    return distance, cortex, marrow, 2.0, where


def paint_pelvis(canvas: Canvas, rng: np.random.Generator, cavity: Field, density: float) -> None:
    """Paint iliac wings on the cavity wall, sacrum, hip joints, pubis, ischium and femora."""
    where = canvas.window((-350, -80, -170), (-160, 120, 170))
    z, y, x = (axis[where] for axis in canvas.at)
    crest = -185 - 0.004 * np.square(y - 15) + rng.normal(0, 5)
    wing = np.abs(cavity[where] - 9) - np.interp(z, [-345, -300, -200], [14, 6, 5]).astype(np.float32)
    rim = np.maximum(np.maximum(z - crest, -345 - z), np.maximum(0.45 * (z + 180) - 5 - y, 34 - np.abs(x)))
    cortex, marrow = density * 800, density * rng.uniform(120, 220)
    canvas.bone(np.maximum(wing, rim).astype(np.float32), cortex, marrow, 2.0, where)
    distance, where = canvas.ellipsoid_distance((-272, 66, 0), (60, 20, 54))
    hollow = np.hypot(canvas.at[2][where], canvas.at[1][where] - 78) - 7
    canvas.bone(np.maximum(distance, -hollow), cortex * 0.8, marrow, 2.0, where)
    for side in (-1, 1):
        canvas.bone(*ball(canvas, (-345, 8, 86 * side), 33, cortex, marrow))
        canvas.ellipsoid((-346, 8, 91 * side), (26, 26, 28), 60.0)
        canvas.bone(*ball(canvas, (-346, 8, 91 * side), 23.5, cortex, marrow + 100))
        canvas.long_bone([(-348, 8, 94 * side), (-368, 14, 122 * side)], 15, cortex, marrow, 2.5)
        canvas.long_bone([(-362, 16, 130 * side), (-400, 14, 126 * side), (-620, 5, 100 * side)], 15, 1250, 40, 5)
        canvas.long_bone([(-345, -25, 66 * side), (-362, -50, 30 * side), (-378, -54, 6 * side)], 9, cortex, marrow, 2)
        canvas.long_bone([(-355, 38, 68 * side), (-405, 42, 58 * side), (-395, -35, 24 * side)], 11, cortex, marrow, 2)


def paint_head(canvas: Canvas, rng: np.random.Generator, density: float, streaks: Field) -> None:
    """Paint skull and brain, then the face."""
    cortex = min(density, 1.0) * rng.uniform(1100, 1500)
    skull, where = canvas.ellipsoid_distance((427, 2, 0), (87, 91, 70))
    thickness = (rng.uniform(5, 8) + 1.2 * streaks[where]).astype(np.float32)
    floor = 372 + 0.25 * np.maximum(-canvas.at[1][where], -40) - canvas.at[0][where]
    vault = np.maximum(skull, floor).astype(np.float32)
    canvas.paint(vault, cortex, where)
    canvas.paint(np.abs(skull + thickness / 2) - thickness / 6, cortex * 0.55, where)
    base = np.maximum(np.maximum(floor, skull), -floor - 9).astype(np.float32)
    canvas.paint(base + 1.5, cortex * 0.35 + 250 * streaks[where], where)
    brain = np.maximum(skull + thickness, floor + 5).astype(np.float32)
    canvas.paint(brain, 14.0, where)
    gyri = 2.5 * np.clip(np.abs(streaks[where]) * 1.5 - 1, -1, 1)
    canvas.named("grey").paint(brain + 2 + gyri, 38.0, where)
    canvas.named("white").paint(brain + 9 + 2 * gyri, 29.0, where)
    size = rng.uniform(0.7, 1.7)
    for side in (-1, 1):
        canvas.ellipsoid((435, -20, 10 * side), (13, 24, 5.5 * size), 6.0, 0.25 * side)
        canvas.ellipsoid((432, 26, 19 * side), (12, 20, 6 * size), 6.0, -0.35 * side)
        canvas.named("grey").ellipsoid((420, -8, 24 * side), (12, 17, 8), 40.0)
    canvas.ellipsoid((420, 0, 0), (12, 14, 2.5 * size), 8.0)
    canvas.named("brainstem").tube([(412, 8, 0), (385, 14, 0), (345, 16, 0)], [14, 12, 7], 32.0)
    paint_face(canvas, rng, cortex, streaks)


def paint_face(canvas: Canvas, rng: np.random.Generator, cortex: float, streaks: Field) -> None:
    """Paint skull base, jaws, teeth, orbits, sinuses and nasal cavity."""
    trabecular = cortex * 0.3
    for side in (-1, 1):
        distance, where = canvas.ellipsoid_distance((378, 14, 42 * side), (13, 13, 30), -0.5 * side)
        canvas.bone(distance, cortex, cortex * 0.75, 4.0, where)
        cells, where = canvas.ellipsoid_distance((366, 32, 54 * side), (20, 15, 12))
        canvas.paint(cells, cortex * 0.6, where)
        canvas.paint(np.maximum(cells + 2.5, 0.5 - 6 * np.abs(streaks[where])), -700.0, where)
        zygoma = [(362, -62, 44 * side), (364, -35, 62 * side), (368, -2, 62 * side)]
        mandible = [(358, -2, 48 * side), (325, -8, 45 * side), (310, -52, 30 * side), (306, -76, 8 * side)]
        canvas.long_bone(zygoma, 4.5, cortex, trabecular, 2)
        canvas.long_bone(mandible, 8, cortex, trabecular, 3)
        canvas.ellipsoid((362, -62, 27 * side), (21, 23, 19), cortex * 0.6)
        canvas.ellipsoid((361, -60, 27 * side), (19, 20, 16), -1000.0 if rng.random() < 0.85 else 25.0)
        canvas.ellipsoid((396, -62, 32 * side), (20, 28, 20), cortex * 0.7)
        canvas.ellipsoid((396, -66, 32 * side), (17, 28, 17), -80.0)
        canvas.ellipsoid((396, -76, 32 * side), (12, 12, 12), 15.0)
        canvas.tube([(396, -64, 30 * side), (394, -36, 18 * side)], [3, 2.5], 35.0)
    distance, where = canvas.ellipsoid_distance((336, -62, 0), (10, 30, 28))
    canvas.bone(distance, cortex * 0.8, trabecular, 2.0, where)
    for turn in np.linspace(-1.25, 1.25, 14):
        metal = rng.random() < 0.06
        y, x = -46 - 34 * np.cos(turn), 27 * np.sin(turn)
        for height in (314, 326):
            canvas.ellipsoid((height, y, x), (7, 4.2, 3.4), 3000.0 if metal else rng.uniform(1500, 2400))
    for centre, radii in (
        ((366, -62, 0), (22, 38, 12)),
        ((378, -26, 0), (11, 12, 15)),
        ((412, -86, 0), (12, 5, 20)),
        ((388, -52, 0), (11, 22, 9)),
    ):
        canvas.ellipsoid(centre, np.add(radii, 2), cortex * 0.6)
        canvas.ellipsoid(centre, radii, -990.0)
    canvas.ellipsoid((370, -60, 0), (24, 38, 0.9), 300.0)
    for side in (-1, 1):
        canvas.ellipsoid((358, -62, 7 * side), (8, 28, 2.6), 45.0)
