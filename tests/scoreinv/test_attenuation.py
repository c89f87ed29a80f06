"""Attenuation of annihilation photons in the random anatomies."""

import pytest
import torch

from scoreinv.attenuation import WATER, attenuation, attenuation_of_hu
from scoreinv.head import head
from scoreinv.tissues import TISSUES, Head


def test_air_water_and_bone_have_their_textbook_attenuation():
    # Water and cortical bone of 1.92 g/mL at 511 keV; bone of that density has about 1500 HU at 120 kVp.
    mu = attenuation_of_hu(torch.tensor([-1024.0, -1000.0, 0.0, 1500.0]))
    assert mu.tolist() == pytest.approx([0.0, 0.0, 0.0096, 0.0172], abs=3e-4)


def test_attenuation_rises_with_hounsfield_units_without_a_jump():
    mu = attenuation_of_hu(torch.linspace(-1000, 3000, 4001))
    steps = mu.diff()
    assert float(steps.min()) > 0
    assert float(steps.max()) < 1e-5
    assert float(steps[1100:].max()) < 0.6 * float(steps[:1000].max())


def test_a_head_is_mixed_of_its_tissues():
    fractions = torch.zeros(len(TISSUES), 1, 1, 3)
    for x, shares in enumerate(({"air": 1.0}, {"csf": 1.0}, {"bone": 0.5, "air": 0.5})):
        for tissue, share in shares.items():
            fractions[TISSUES.index(tissue), 0, 0, x] = share
    mu = attenuation(Head(fractions, (1.0, 1.0, 1.0)))
    assert mu.flatten().tolist() == pytest.approx([0.0, WATER, 0.008], rel=1e-5)


def test_a_heads_mean_is_near_that_of_water():
    tissues = head(0, (8, 48, 48), (8.0, 4.5, 4.5))
    inside = attenuation(tissues)[tissues.fraction("air") < 0.01]
    assert 0.95 < float(inside.mean()) / WATER < 1.2
