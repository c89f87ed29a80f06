import math

import pytest
import torch

from scoreinv.metrics import hfen, nrmse, psnr, ssim, to_attenuation, to_hu


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


def test_ssim_of_a_volume_is_scikit_images(image):
    from skimage.metrics import structural_similarity

    volume = torch.rand(12, 16, 16, generator=torch.Generator().manual_seed(3)) * 0.04
    other = volume + 0.004 * torch.randn(volume.shape, generator=torch.Generator().manual_seed(4))
    settings = {"data_range": 2000.0, "gaussian_weights": True, "use_sample_covariance": False}
    wanted = structural_similarity(to_hu(other).numpy(), to_hu(volume).numpy(), **settings)
    assert ssim(other, volume, volume=True) == pytest.approx(wanted, abs=1e-6)
    assert ssim(other, volume, volume=True) != pytest.approx(ssim(other, volume), abs=1e-4)
    assert math.isnan(ssim(image, image, volume=True))


def test_masks_leave_out_what_they_are_zero_on(image):
    mask = torch.ones_like(image)
    mask[:, :, 8:] = 0
    # What is wrong lies further from the mask than the window of SSIM reaches.
    wrong = image.clone()
    wrong[:, :, 14:] += 0.01
    assert psnr(wrong, image, mask=mask) == math.inf
    assert nrmse(wrong, image, mask) == 0
    assert ssim(wrong, image, mask=mask) == pytest.approx(1.0)
    assert ssim(wrong, image, mask=1 - mask) < ssim(wrong, image) < 1
    assert hfen(wrong, image, mask=mask) < 0.1 * hfen(wrong, image)


def test_a_mask_of_ones_changes_nothing_but_the_border_of_ssim(image):
    other, ones = image + 0.001 * torch.rand(image.shape), torch.ones_like(image)
    assert psnr(other, image, mask=ones) == pytest.approx(psnr(other, image))
    assert nrmse(other, image, ones) == pytest.approx(nrmse(other, image))
    assert hfen(other, image, mask=ones) == pytest.approx(hfen(other, image))


def test_nrmse_is_relative_and_counts_both_parts_of_complex_images():
    image = torch.randn(4, 4, dtype=torch.complex64)
    assert nrmse(1.1 * image, image) == pytest.approx(0.1, abs=1e-5)
    assert nrmse(1.1j * image, 1j * image) == pytest.approx(0.1, abs=1e-5)
    assert math.isnan(nrmse(image, torch.zeros_like(image)))


def test_hfen_sees_edges_and_not_what_varies_slowly(image):
    ramp = torch.linspace(0, 0.001, 16).expand_as(image)
    assert hfen(image, image) == 0
    assert hfen(image + ramp, image) < 0.05
    assert hfen(1.1 * image, image) == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("metric", [psnr, ssim, nrmse, hfen])
def test_shapes_that_differ_are_named(metric, image):
    with pytest.raises(ValueError, match=r"image has shape \(3, 16, 16\), reference \(3, 16, 15\)"):
        metric(image, image[..., 1:])
    with pytest.raises(ValueError, match=r"mask has shape \(16, 16\)"):
        metric(image, image, mask=torch.ones(16, 16))
    with pytest.raises(ValueError, match="zero everywhere"):
        metric(image, image, mask=torch.zeros_like(image))
