import math

import pytest
import torch
from scipy.ndimage import gaussian_filter

from scoreinv._torchvision import declare_missing_operators
from scoreinv.metrics import Scale, vif

GREYS = Scale(lambda x: x, 255.0, (0.0, 255.0), 50.0, "")


@pytest.fixture(scope="module")
def reference():
    generator = torch.Generator().manual_seed(4)
    rough = torch.rand(64, 72, generator=generator, dtype=torch.float64).numpy()
    return torch.from_numpy(128 + 400 * (gaussian_filter(rough, 2) - 0.5)).float()


def published(image, reference):
    """torchmetrics' implementation of the authors' own."""
    declare_missing_operators()
    from torchmetrics.functional.image import visual_information_fidelity

    return float(visual_information_fidelity(image[None, None].double(), reference[None, None].double()))


def test_same_image_is_perfect(reference):
    assert vif(reference, reference, GREYS) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("level", [1.0, 8.0, 40.0])
def test_as_published_for_noise(reference, level):
    image = reference + level * torch.randn(reference.shape, generator=torch.Generator().manual_seed(5))
    assert vif(image, reference, GREYS) == pytest.approx(published(image, reference), abs=1e-4)


@pytest.mark.parametrize("width", [0.7, 2.0])
def test_as_published_for_blur(reference, width):
    image = torch.from_numpy(gaussian_filter(reference.numpy(), width))
    assert vif(image, reference, GREYS) == pytest.approx(published(image, reference), abs=1e-4)


def test_raised_contrast_is_above_1(reference):
    assert vif(1.5 * reference, reference, GREYS) > 1.05


def test_an_offset_changes_nothing(reference):
    dimmed = 0.8 * reference
    assert vif(dimmed + 30, reference, GREYS) == pytest.approx(vif(dimmed, reference, GREYS), rel=1e-4)


def test_nothing_comes_through_a_flat_or_a_negated_image(reference):
    assert vif(torch.zeros_like(reference), reference, GREYS) == 0
    assert vif(-reference, reference, GREYS) < 1e-6


def test_range_and_image_scaled_together_change_nothing(reference):
    noisy = reference + 5 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(5))
    unit = Scale(lambda x: x, 1.0, (0.0, 1.0), 0.2, "")
    assert vif(noisy / 255, reference / 255, unit) == pytest.approx(vif(noisy, reference, GREYS), rel=1e-5)


def test_mean_over_slices(reference):
    pair = torch.stack([reference + 10 * torch.sin(reference), reference])
    truth = torch.stack([reference, reference])
    assert vif(pair, truth, GREYS) == pytest.approx((vif(pair[0], reference, GREYS) + 1) / 2)


def test_slices_without_information_do_not_count(reference):
    truth = torch.stack([reference, torch.zeros_like(reference)])
    assert vif(0.9 * truth, truth, GREYS) == pytest.approx(vif(0.9 * reference, reference, GREYS))


def test_small_or_constant_slices_have_none(reference):
    assert math.isnan(vif(reference[:40], reference[:40], GREYS))
    assert not math.isnan(vif(reference[:41], reference[:41], GREYS))
    assert math.isnan(vif(reference, torch.zeros_like(reference), GREYS))
