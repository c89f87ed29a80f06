import math

import pytest
import torch

from scoreinv.metrics import psnr, ssim, to_attenuation, to_hu


@pytest.fixture(scope="module")
def image():
    return to_attenuation(200 * torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)))


def test_water_and_air():
    torch.testing.assert_close(to_hu(torch.tensor([0.0, 0.02])), torch.tensor([-1000.0, 0.0]))


def test_hu_round_trip(image):
    torch.testing.assert_close(to_attenuation(to_hu(image)), image)


def test_same_image_is_perfect(image):
    assert psnr(image, image) == math.inf
    assert ssim(image, image) == pytest.approx(1.0)


@pytest.mark.parametrize(("error", "expected"), [(20.0, 40.0), (200.0, 20.0)])
def test_psnr_of_a_known_error_in_a_range_of_2000_hu(image, error, expected):
    assert psnr(image + error / 1000 * 0.02, image) == pytest.approx(expected, abs=1e-3)


def test_both_fall_with_the_error(image):
    noise = 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    little, much = image + 0.02 * noise, image + 0.2 * noise
    assert psnr(little, image) > psnr(much, image)
    assert 1 > ssim(little, image) > ssim(much, image) > 0


def test_slices_smaller_than_the_window_have_no_ssim():
    assert math.isnan(ssim(torch.zeros(2, 8, 16), torch.zeros(2, 8, 16)))
    assert ssim(torch.zeros(2, 11, 11), torch.zeros(2, 11, 11)) == 1


def test_ssim_is_the_mean_over_slices(image):
    other = image.clone()
    other[0] += 0.01 * torch.rand(other[0].shape, generator=torch.Generator().manual_seed(2))
    slices = [ssim(other[k : k + 1], image[k : k + 1]) for k in range(3)]
    assert ssim(other, image) == pytest.approx(sum(slices) / 3)
