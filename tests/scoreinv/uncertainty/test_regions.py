"""Regions."""

import pytest
import torch
from toys import random

from scoreinv.uncertainty import contrasts, estimate, factor, region_means


def test_a_region_moves_as_its_voxels_do_together():
    common = random(30)
    samples = 2 + common[:, None, None] + torch.zeros(30, 4, 4, dtype=torch.float64)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1:3] = True
    found = estimate(region_means(samples, mask), 0.9)
    assert found.std == pytest.approx(float(common.std()))
    assert found.high - found.low == pytest.approx(2 * factor(0.9, 30) * found.std)
    assert contrasts(samples, mask, ~mask).abs().max() < 1e-12


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="0 voxels"):
        region_means(random(3, 4), torch.zeros(4, dtype=torch.bool))
