import math

import pytest
import torch
from skimage.metrics import structural_similarity

from scoreinv.metrics import psnr, ssim, to_hu

WANG = {"data_range": 2000.0, "gaussian_weights": True, "use_sample_covariance": False}


@pytest.fixture(scope="module")
def volumes():
    generator = torch.Generator().manual_seed(3)
    reference = 0.02 * torch.rand(14, 16, 20, generator=generator)
    return reference + 0.002 * torch.randn(reference.shape, generator=generator), reference


def test_same_image_is_perfect(image):
    assert ssim(image, image) == pytest.approx(1.0)


def test_both_fall_with_the_error(image, noise):
    little, much = image + 0.02 * noise, image + 0.2 * noise
    assert psnr(little, image) > psnr(much, image)
    assert 1 > ssim(little, image) > ssim(much, image) > 0


def test_slices_smaller_than_the_window_have_no_ssim():
    assert math.isnan(ssim(torch.zeros(2, 8, 16), torch.zeros(2, 8, 16)))
    assert math.isnan(ssim(torch.zeros(2, 16, 16), torch.zeros(2, 16, 16), dims=3))
    assert ssim(torch.zeros(2, 11, 11), torch.zeros(2, 11, 11)) == 1


def test_ssim_is_the_mean_over_slices(image):
    other = image.clone()
    other[0] += 0.01 * torch.rand(other[0].shape, generator=torch.Generator().manual_seed(2))
    slices = [ssim(other[k : k + 1], image[k : k + 1]) for k in range(3)]
    assert ssim(other, image) == pytest.approx(sum(slices) / 3)


def test_ssim_as_scikit_image_has_it(volumes):
    one, other = (to_hu(x).numpy() for x in volumes)
    assert ssim(*volumes, dims=3) == pytest.approx(structural_similarity(one, other, **WANG), abs=1e-6)
    assert ssim(*(x[3] for x in volumes)) == pytest.approx(structural_similarity(one[3], other[3], **WANG), abs=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mask_of_everything_changes_nothing(volumes, dims):
    everything = torch.ones(volumes[0].shape, dtype=torch.bool)
    assert ssim(*volumes, dims=dims, mask=everything) == pytest.approx(ssim(*volumes, dims=dims), rel=1e-9)


def test_only_windows_about_the_mask_count(volumes):
    image, reference = volumes
    mask = torch.zeros(image.shape, dtype=torch.bool)
    mask[:, :, :8] = True
    spoilt = image.clone()
    spoilt[:, :, 13:] = 0.5
    assert ssim(spoilt, reference, mask=mask) == pytest.approx(ssim(image, reference, mask=mask), rel=1e-6)
    assert ssim(spoilt, reference) < ssim(image, reference)


def test_a_mask_near_the_edge_alone_has_no_ssim(volumes):
    mask = torch.zeros(volumes[0].shape, dtype=torch.bool)
    mask[:, :5] = True
    assert math.isnan(ssim(*volumes, mask=mask))


@pytest.mark.parametrize("dims", [1, 4])
def test_other_dimensions_are_refused(volumes, dims):
    with pytest.raises(ValueError, match="expected 2"):
        ssim(*volumes, dims=dims)


def test_a_slice_has_no_ssim_of_a_volume(volumes):
    with pytest.raises(ValueError, match="for a volume"):
        ssim(volumes[0][0], volumes[1][0], dims=3)
