import math

import pytest
import torch
from skimage.metrics import normalized_root_mse

from scoreinv.metrics import HOUNSFIELD, Scale, nrmse, psnr, to_hu

PLAIN = Scale(lambda x: x, 1.0, (0.0, 1.0), 0.2, "")


def test_same_image_is_perfect(image):
    assert psnr(image, image) == math.inf
    assert nrmse(image, image) == 0
    assert nrmse(0 * image, 0 * image, PLAIN) == 0


@pytest.mark.parametrize(("error", "expected"), [(20.0, 40.0), (200.0, 20.0)])
def test_psnr_of_a_known_error_in_a_range_of_2000_hu(image, error, expected):
    assert psnr(image + error / 1000 * 0.02, image) == pytest.approx(expected, abs=1e-3)


def test_nrmse_as_scikit_image_has_it(image, noise):
    expected = normalized_root_mse(to_hu(image).double().numpy(), to_hu(image + noise).double().numpy())
    assert nrmse(image + noise, image, HOUNSFIELD) == pytest.approx(expected, rel=1e-6)


def test_nrmse_of_a_factor_is_its_distance_from_1(image):
    assert nrmse(1.1 * image, image, PLAIN) == pytest.approx(0.1, rel=1e-5)


def test_nrmse_of_nothing_is_infinite(image):
    assert nrmse(image, 0 * image, PLAIN) == math.inf


@pytest.mark.parametrize("metric", [psnr, nrmse])
def test_only_voxels_of_the_mask_count(image, noise, metric):
    mask = torch.zeros(image.shape, dtype=torch.bool)
    mask[1, 2:9] = True
    spoilt = torch.where(mask, image + 0.1 * noise, image + 7)
    expected = metric((image + 0.1 * noise)[1, 2:9], image[1, 2:9])
    assert metric(spoilt, image, mask=mask) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [psnr, nrmse])
def test_what_does_not_fit_is_refused(image, metric):
    with pytest.raises(ValueError, match="expected that of the reference"):
        metric(image[:1], image)
    with pytest.raises(TypeError, match="expected bool"):
        metric(image, image, mask=image)
    with pytest.raises(ValueError, match="no voxel"):
        metric(image, image, mask=torch.zeros(image.shape, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask has shape"):
        metric(image, image, mask=torch.ones(16, 16, dtype=torch.bool))
