"""What is said of a system without a reference: closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from scoreinv.metrics import contrast_recovery, modulation_transfer, noise_power_spectrum, uniformity

PIXEL = 0.8  # mm


def grid(side=96):
    axis = (torch.arange(side) - (side - 1) / 2) * PIXEL
    return torch.meshgrid(axis, axis, indexing="ij")


def blurred_edge(distance, width):
    """Of a step of 100, blurred by a Gaussian of standard deviation `width`, mm."""
    return 50 * (1 + torch.erf(distance / (width * math.sqrt(2))))


@pytest.mark.parametrize("shape", ["straight", "round"])
def test_modulation_transfer_of_a_gaussian_blur_is_a_gaussian(shape):
    y, x = grid()
    distance = x * math.cos(0.1) + y * math.sin(0.1) if shape == "straight" else torch.hypot(y, x) - 20
    image = blurred_edge(distance, 1.0)
    frequencies, transfer = modulation_transfer(image, distance, 0.4 * PIXEL, 12.0)
    seen = frequencies < 0.45
    wanted = np.exp(-2 * np.pi**2 * frequencies**2)
    assert seen.sum() > 10
    np.testing.assert_allclose(transfer[seen], wanted[seen], atol=0.02)
    assert transfer[0] == pytest.approx(1)


def test_an_edge_that_cannot_be_measured_is_refused():
    y, x = grid(32)
    with pytest.raises(ValueError, match="hold no pixel"):
        modulation_transfer(blurred_edge(x, 1.0), x, 0.1 * PIXEL, 5.0)
    with pytest.raises(ValueError, match="alike"):
        modulation_transfer(torch.zeros(32, 32), x + 0.1 * y, 0.5 * PIXEL, 5.0)
    with pytest.raises(ValueError, match="distance has shape"):
        modulation_transfer(x, x[:-1], 0.5, 5.0)


def test_white_noise_has_the_same_power_everywhere():
    noise = 7 * torch.randn(200, 32, 24, generator=torch.Generator().manual_seed(0))
    frequencies, power = noise_power_spectrum(noise, (0.5, 0.8))
    np.testing.assert_allclose(power, 49 * 0.5 * 0.8, rtol=0.1)
    assert frequencies[-1] < 0.5 / 0.8


def test_power_adds_up_to_the_variance():
    white = np.random.default_rng(0).standard_normal((100, 64, 64))
    noise = torch.from_numpy(gaussian_filter(white, (0, 2, 2), mode="wrap"))
    frequencies, power = noise_power_spectrum(noise, (PIXEL, PIXEL))
    # Beyond the last ring a blurred noise has nothing.
    total = float(np.sum(2 * np.pi * frequencies * power) * (frequencies[1] - frequencies[0]))
    assert total == pytest.approx(float(noise.var()), rel=0.05)


def test_regions_of_another_rank_are_refused():
    with pytest.raises(ValueError, match=r"expected \(regions, y, x\)"):
        noise_power_spectrum(torch.zeros(8, 8), (1.0, 1.0))


def test_half_the_contrast_is_half_recovered():
    y, x = grid(32)
    lesion, around = torch.hypot(y, x) < 4, torch.hypot(y, x) > 6
    truth = 10.0 * torch.ones(32, 32) + 20.0 * lesion
    assert contrast_recovery(truth, truth, lesion, around) == pytest.approx(1)
    assert contrast_recovery(3 * (10.0 + 10.0 * lesion), truth, lesion, around) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="as bright as"):
        contrast_recovery(truth, torch.ones(32, 32), lesion, around)
    with pytest.raises(ValueError, match="0 voxels"):
        contrast_recovery(truth, truth, torch.zeros(32, 32), around)


def test_uniformity_is_the_largest_difference_from_the_middle():
    y, x = grid(32)
    regions = [torch.hypot(y - a, x - b) < 3 for a, b in ((0, 0), (8, 0), (-8, 0), (0, 8))]
    assert uniformity(torch.full((32, 32), 5.0), regions) == 0
    assert uniformity(y / 4, regions) == pytest.approx(2.0, abs=1e-5)
    with pytest.raises(ValueError, match="1 regions"):
        uniformity(y, regions[:1])
