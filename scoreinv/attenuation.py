"""Attenuation at 511 keV, the energy of annihilation photons, of the random anatomies."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.tissues import TISSUES, Head

WATER = 0.0096  # 1/mm
# Of tissues denser or lighter than water, 1/mm: near water's value times their density, which photons of this energy
# follow, and below that in bone.
TISSUE_ATTENUATION = {
    "air": 0.0,
    "fat": 0.0089,
    "skin": 0.0104,
    "muscle": 0.0101,
    "bone": 0.0160,
    "marrow": 0.0100,
    "grey": 0.0099,
    "white": 0.0099,
    "deep grey": 0.0099,
    "cerebellum": 0.0099,
    "brainstem": 0.0099,
    "vessel": 0.0101,
}


def attenuation(head: Head) -> Tensor:
    """Attenuation of a head at 511 keV, float32 (z, y, x) in 1/mm."""
    of_tissue = torch.tensor([TISSUE_ATTENUATION.get(tissue, WATER) for tissue in TISSUES])
    return torch.tensordot(of_tissue, head.fractions, dims=1)


def attenuation_of_hu(hu: Tensor) -> Tensor:
    """Attenuation at 511 keV, in 1/mm, of CT values of any shape in HU, taken at 120 kVp.

    Two lines, with a smaller slope above about 50 HU, where bone's photoelectric absorption in CT exaggerates it
    [Carney et al. 2006, Med. Phys. 33:976-983].
    """
    above_air = hu + 1000
    return torch.minimum(9.6e-6 * above_air, 5.1e-6 * above_air + 4.71e-3).clamp(min=0)
