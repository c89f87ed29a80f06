"""Random images of the glucose analogue FDG, drawn from a seed: brains and bodies.

A brain takes its tissues from scoreinv.head, a body from scoreinv.phantoms, where the uptake of most tissues follows
from their HU by a curve of the patient's own, and organs that HU cannot tell apart are told by name. What MR and CT do
not show is painted over it: regions of low metabolism, tumours, lymph nodes, glands, brown fat. Values are in units of
mean soft tissue, near the standardised uptake value: grey matter lies at 4 to 14, a tumour at 2 to 25, a bladder as
high as 40; they are plausible ranges, measured on nobody. Images have the resolution of a scanner and no noise.
Everything random is drawn in millimetres, so shape and voxel size only choose where the same patient is sampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from scoreinv.attenuation import attenuation_of_hu
from scoreinv.canvas import WHOLE, Field, Surface, Window, smooth_noise
from scoreinv.phantoms import check, paint_body
from scoreinv.skeleton import SPINE_DEPTH
from scoreinv.tissues import TISSUES, Head

# Uptake of the tissues of a head, in terms of grey matter's.
BRAIN = {"grey": 1.0, "deep grey": 1.05, "cerebellum": 0.85, "brainstem": 0.5, "white": 0.28}
# Of its other tissues, in terms of soft tissue's.
HEAD = {
    "skin": 0.5,
    "fat": 0.2,
    "muscle": 0.7,
    "bone": 0.25,
    "marrow": 0.9,
    "csf": 0.25,
    "vitreous": 0.2,
    "vessel": 1.3,
}
# Median uptake of named organs of a body, and spread of its logarithm between patients.
ORGANS = {
    "table": (0.0, 0.0),
    "blood": (1.4, 0.2),
    "liver": (2.0, 0.2),
    "spleen": (1.6, 0.2),
    "stomach": (1.8, 0.4),
    "bowel": (1.4, 0.5),
    "pancreas": (1.2, 0.2),
    "gall bladder": (0.5, 0.3),
    "cyst": (0.4, 0.5),
    "kidney": (2.6, 0.3),
    "renal pelvis": (7.0, 0.8),
    "bladder": (10.0, 0.7),
    "uterus or prostate": (1.6, 0.4),
    "myocardium": (2.5, 0.8),
    "thyroid": (1.2, 0.4),
    "brainstem": (3.5, 0.25),
}
HOTTEST = 40.0
# Where tumours and nodes lie: corners (z, y, x) in mm of the reference patient, on one side.
SITES = {
    "lung": ((0, -50, 40), (170, 55, 105)),
    "liver": ((-100, -60, -120), (20, 50, -30)),
    "mediastinum": ((60, -30, -30), (150, 40, 30)),
    "abdominal nodes": ((-200, 10, -25), (-60, 35, 25)),
    "neck nodes": ((210, -30, 20), (340, 30, 55)),
    "pharynx": ((290, -55, -20), (370, -10, 20)),
    "axilla": ((130, -30, 105), (185, 20, 150)),
    "groin": ((-385, -60, 50), (-330, -30, 90)),
    "pelvis": ((-330, 20, 60), (-200, 80, 110)),
}


def head_uptake(head: Head, seed: int) -> Tensor:
    """FDG in a head, float32 (z, y, x), >= 0, mean soft tissue near 1, at a resolution of 3 to 6.5 mm FWHM.

    The seed draws the uptake of each tissue, smooth variation between regions, regions of low metabolism and lesions
    that an MR image of the same head does not show.

    Args:
        head: of `scoreinv.head.head`.
        seed: >= 0.

    Raises:
        ValueError: for a negative seed.
    """
    shape = tuple(head.fractions.shape[1:])
    check(seed, shape, head.voxel_size)
    rng = _generator(seed, 2)
    axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, head.voxel_size, strict=True)]
    fractions = head.fractions.numpy()
    grey = float(np.clip(rng.lognormal(math.log(7), 0.3), 3.5, 14))
    spread = {tissue: rng.lognormal(0, 0.12) for tissue in TISSUES}
    own = {"lesion": grey * rng.uniform(0.15, 1.6)}
    others = {tissue: value * spread[tissue] for tissue, value in HEAD.items()} | own
    inside = {tissue: grey * value * spread[tissue] for tissue, value in BRAIN.items()}
    outer, brain = (_mixed(fractions, values) for values in (others, inside))
    mild, broad = rng.uniform(0.04, 0.13), rng.uniform(0.04, 0.12)
    brain = brain * np.exp(mild * smooth_noise(rng, axes, 18, 20) + broad * smooth_noise(rng, axes, 55, 8))
    outer = outer * np.exp(0.25 * smooth_noise(rng, axes, 20, 16))
    within = sum(fractions[TISSUES.index(tissue)] for tissue in BRAIN)
    for _ in range(rng.poisson(0.7)):
        brain *= 1 - rng.uniform(0.15, 0.6) * _blob(axes, rng.uniform((-50, -75, -60), (50, 75, 60)), rng, (12, 38))
    for _ in range(rng.poisson(1.0)):
        spot = _blob(axes, rng.uniform((-50, -70, -55), (50, 70, 55)), rng, (2.5, 13), sharp=4)
        brain += spot * (grey * rng.uniform(0.1, 2.2) * within - brain)
    return _seen(brain + outer, rng.uniform(3.0, 6.5), head.voxel_size)


def body_uptake(
    seed: int, shape: tuple[int, int, int], voxel_size: tuple[float, float, float]
) -> tuple[Tensor, Tensor]:
    """FDG in the body of `scoreinv.phantoms.body` of the same seed, and its attenuation.

    Returns:
        Uptake, float32 (z, y, x), >= 0, mean soft tissue near 1, at a resolution of 4 to 7 mm FWHM, and attenuation at
        511 keV, float32 (z, y, x), 1/mm.

    Raises:
        ValueError: for a negative seed, a shape that is not 3 positive ints or a voxel size not 3 positive floats.
    """
    rng = _generator(seed, 3)
    canvas = paint_body(seed, shape, voxel_size, Metabolism.drawn(rng))
    uptake = UptakeLayer(canvas.axes, canvas.at, canvas.reach, canvas.voxel, canvas.layers[1])
    fine, coarse, drift = (smooth_noise(rng, canvas.axes, s, c) for s, c in ((7, 64), (20, 40), (70, 16)))
    uptake.values *= np.exp(0.1 * fine + rng.uniform(0.05, 0.2) * coarse + 0.1 * drift)
    paint_glands(uptake, rng)
    paint_tumours(uptake, rng)
    image = _seen(uptake.values, rng.uniform(4.0, 7.0), voxel_size)
    return image, attenuation_of_hu(torch.from_numpy(np.clip(canvas.hu, -1000, 3000)))


@dataclass(frozen=True)
class Metabolism:
    """What the tissues of one patient take up.

    Fields: hu and values, the curve for tissues without a name; organs, for those with one; rng, for what differs from
    one stretch of bowel to the next.
    """

    hu: Field
    values: Field
    organs: dict[str, float]
    rng: np.random.Generator

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Metabolism:
        """Of a random patient."""
        lung, fat, fluid, muscle = rng.uniform((0.25, 0.1, 0.3, 0.5), (0.6, 0.35, 0.6, 1.0))
        marrow, cortex = rng.lognormal(0.25, 0.3), rng.uniform(0.2, 0.5)
        hu = np.array([-990, -930, -700, -500, -110, -60, 5, 30, 60, 110, 200, 450, 900])
        values = np.array([0, lung, lung, lung, fat, fat, fluid, muscle, muscle, marrow, marrow, marrow, cortex])
        organs = {organ: min(median * rng.lognormal(0, spread), HOTTEST) for organ, (median, spread) in ORGANS.items()}
        organs["grey"] = float(np.clip(rng.lognormal(math.log(7), 0.3), 3.5, 14))
        # The inner brain of scoreinv.phantoms is not folded: it stands for white matter and what cortex is in it.
        organs["white"] = organs["grey"] * rng.uniform(0.3, 0.6)
        return cls(hu, values, organs, np.random.Generator(np.random.PCG64(rng.integers(2**63))))

    def __call__(self, hu: float | Field, organ: str | None) -> float | Field:
        """Uptake of a tissue, from its HU unless it has a name."""
        if organ is None:
            return np.asarray(np.interp(hu, self.hu, self.values), dtype=np.float32)
        return self.organs[organ] * (self.rng.lognormal(0, 0.5) if organ == "bowel" else 1.0)


@dataclass
class UptakeLayer(Surface):
    """Uptake alone being painted, over a body's."""

    values: Field

    def mix(self, share: Field, value: float, where: Window = WHOLE) -> None:
        """Replace a share of the voxels of a window by value."""
        region = self.values[where]
        region += share * (value - region)


def paint_glands(uptake: UptakeLayer, rng: np.random.Generator) -> None:
    """Paint salivary glands, tonsils, tongue, vocal cords, ureters and, in a few, brown fat."""
    parotid, submandibular, tonsil, mouth, cords = rng.lognormal(np.log([1.7, 1.8, 2.6, 1.6, 1.3]), 0.4)
    ureter = rng.lognormal(math.log(5), 0.7) if rng.random() < 0.5 else 1.0
    brown = rng.uniform(3, 12) if rng.random() < 0.06 else None
    uptake.ellipsoid((320, -50, 0), (14, 22, 18), mouth)
    for s in (-1, 1):
        uptake.ellipsoid((350, 2, 52 * s), (20, 11, 8), parotid)
        uptake.ellipsoid((316, -26, 28 * s), (9, 10, 8), submandibular)
        uptake.ellipsoid((336, -18, 13 * s), (9, 6, 5), tonsil)
        uptake.ellipsoid((264, -24, 4 * s), (3, 9, 3), cords)
        path = [(-120, 36, 48 * s), (-205, 28, 36 * s), (-290, 40, 45 * s), (-335, 5, 25 * s)]
        for start, end in pairwise(path):
            if rng.random() < 0.5:
                uptake.tube([start, end], [2.5, 2.5], ureter)
        for _ in range(6 if brown else 0):
            uptake.ellipsoid(rng.uniform((200, 0, 35), (250, 35, 100)) * (1, 1, s), rng.uniform(4, 12, 3), brown)


def paint_tumours(uptake: UptakeLayer, rng: np.random.Generator) -> None:
    """Paint tumours, nodes and metastases to bone in most patients, 5 to 30 mm wide, some with a cold centre."""
    level = rng.lognormal(math.log(6), 0.5)
    for _ in range(rng.integers(4, 24) if rng.random() < 0.75 else 0):
        if rng.random() < 0.2:
            height = rng.uniform(-320, 320)
            place = np.array([height, np.interp(height, SPINE_DEPTH[:, 0], SPINE_DEPTH[:, 1]), rng.uniform(-12, 12)])
        else:
            site = str(rng.choice(list(SITES)))
            place = rng.uniform(*SITES[site]) * (1, 1, 1 if site == "liver" else rng.choice([-1, 1]))
        radii = np.clip(rng.lognormal(1.8, 0.45), 2.5, 15) * rng.uniform(0.75, 1.25, 3)
        value = float(np.clip(level * rng.lognormal(0, 0.4), 1.8, 25))
        uptake.ellipsoid(place, radii, value)
        if radii.min() > 7 and rng.random() < 0.4:
            uptake.ellipsoid(place, radii * rng.uniform(0.4, 0.65), value * rng.uniform(0.05, 0.4))


def _generator(seed: int, stream: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: expected an int >= 0, got {seed!r}; pass a non-negative int")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream))))


def _mixed(fractions: Field, values: dict[str, float]) -> Field:
    return np.tensordot(np.array([values.get(t, 0.0) for t in TISSUES], dtype=np.float32), fractions, axes=1)


def _blob(
    axes: Sequence[Field], centre: Field, rng: np.random.Generator, radius: tuple[float, float], sharp: int = 1
) -> Field:
    """A smooth spot (z, y, x), 1 at its centre and 1/e at a random radius (mm) from it."""
    radii = rng.uniform(*radius) * rng.uniform(0.75, 1.25, 3)
    squares = [np.square((axis - c) / r) for axis, c, r in zip(axes, centre, radii, strict=True)]
    distance = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.asarray(np.exp(-(distance**sharp)), dtype=np.float32)


def _seen(uptake: Field, fwhm: float, voxel_size: Sequence[float]) -> Tensor:
    """Uptake at a resolution of fwhm (mm)."""
    sigma = [fwhm / math.sqrt(8 * math.log(2)) / d for d in voxel_size]
    return torch.from_numpy(gaussian_filter(uptake, sigma, mode="nearest").clip(min=0).astype(np.float32))
