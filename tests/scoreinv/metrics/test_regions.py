import pytest
import torch
from scipy.ndimage import gaussian_filter

from scoreinv.metrics import contrast_recovery, uniformity


@pytest.fixture(scope="module")
def sphere():
    """Activity of a sphere of 3 in 1, and masks of it and of a shell around."""
    axes = torch.meshgrid(*[torch.arange(24.0) - 11.5] * 3, indexing="ij")
    distance = torch.stack(axes).norm(dim=0)
    return 1 + 2.0 * (distance < 4), distance < 4, (distance > 7) & (distance < 10)


def test_all_contrast_comes_back_whatever_the_factor(sphere):
    truth, *masks = sphere
    assert contrast_recovery(truth, truth, *masks) == pytest.approx(1)
    assert contrast_recovery(5 * truth, truth, *masks) == pytest.approx(1)


def test_none_comes_back_in_a_flat_image(sphere):
    truth, *masks = sphere
    assert contrast_recovery(torch.ones_like(truth), truth, *masks) == pytest.approx(0)


def test_half_comes_back_hot_or_cold(sphere):
    truth, *masks = sphere
    cold = 1 - 0.8 * masks[0].float()
    for image in (truth, cold):
        assert contrast_recovery((image + 1) / 2, image, *masks) == pytest.approx(0.5, rel=1e-5)


def test_blur_costs_contrast(sphere):
    truth, *masks = sphere
    values = [
        contrast_recovery(torch.from_numpy(gaussian_filter(truth.numpy(), width)), truth, *masks)
        for width in (0.5, 1.0, 2.0)
    ]
    assert 1 > values[0] > values[1] > values[2] > 0


def test_no_contrast_to_recover_is_refused(sphere):
    truth, *masks = sphere
    with pytest.raises(ValueError, match="expected a contrast"):
        contrast_recovery(truth, torch.ones_like(truth), *masks)
    with pytest.raises(ValueError, match="mean 0"):
        contrast_recovery(torch.zeros_like(truth), truth, *masks)
    with pytest.raises(TypeError, match="expected bool"):
        contrast_recovery(truth, truth, masks[0].float(), masks[1])


def test_uniformity_of_flat_and_of_shaded(sphere):
    truth, region, _ = sphere
    assert uniformity(torch.full_like(truth, 7.0), region) == 1
    shaded = truth.clone()
    shaded[region] = torch.linspace(1, 3, int(region.sum()))
    assert uniformity(shaded, region) == pytest.approx(0.5)


def test_uniformity_needs_positive_real_values(sphere):
    truth, region, _ = sphere
    with pytest.raises(ValueError, match="positive"):
        uniformity(-truth, region)
    with pytest.raises(TypeError, match="magnitude"):
        uniformity(truth.to(torch.complex64), region)
