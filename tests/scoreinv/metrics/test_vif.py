import math

import pytest
import torch

from scoreinv.metrics import Scale, vif

EIGHT_BITS = Scale(lambda x: x, 255.0, (0.0, 255.0), 25.0, "")


@pytest.fixture(scope="module")
def image():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return 120 + 60 * torch.sin(y / 3) * torch.cos(x / 5) + 40 * ((y - 30) ** 2 + (x - 36) ** 2 < 200)


def noisy(image, level):
    return image + level * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))


def test_all_of_itself_and_nothing_of_a_flat_image(image):
    assert vif(image, image, EIGHT_BITS) == pytest.approx(1.0, abs=1e-6)
    assert vif(torch.full_like(image, 120.0), image, EIGHT_BITS) == pytest.approx(0.0, abs=1e-6)


def test_falls_with_noise_and_rises_with_contrast(image):
    levels = [vif(noisy(image, level), image, EIGHT_BITS) for level in (2.0, 8.0, 32.0)]
    assert 1 > levels[0] > levels[1] > levels[2] > 0
    assert vif(120 + 1.2 * (image - 120), image, EIGHT_BITS) > 1


def test_values_of_an_independent_implementation(image):
    # sewar 0.4.10, `vifp(image, noisy)` on these two images.
    assert vif(noisy(image, 8.0), image, EIGHT_BITS) == pytest.approx(0.517426, abs=1e-5)
    assert vif(noisy(image, 32.0), image, EIGHT_BITS) == pytest.approx(0.191715, abs=1e-5)


def test_the_unit_does_not_matter(image):
    other = Scale(lambda x: x, 0.255, (0.0, 0.255), 0.0255, "")
    wanted = vif(noisy(image, 8.0), image, EIGHT_BITS)
    assert vif(noisy(image, 8.0) / 1000, image / 1000, other) == pytest.approx(wanted, rel=1e-4)


def test_slices_of_a_volume_are_taken_together(image):
    volume = torch.stack([image, image.T])
    assert vif(noisy(volume, 8.0), volume, EIGHT_BITS) == pytest.approx(
        vif(noisy(image, 8.0), image, EIGHT_BITS), abs=0.02
    )


def test_small_and_empty_images_have_none(image):
    assert math.isnan(vif(image[:40], image[:40], EIGHT_BITS))
    assert math.isnan(vif(torch.zeros(64, 64), torch.zeros(64, 64), EIGHT_BITS))
