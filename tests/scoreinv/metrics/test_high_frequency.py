import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from scoreinv.metrics import Scale, hfen

PLAIN = Scale(lambda x: x, 1.0, (0.0, 1.0), 0.2, "")


def log_kernel():
    """Laplacian of a Gaussian of 1.5 pixels, 15 x 15, as MATLAB's fspecial builds it."""
    y, x = np.mgrid[-7:8, -7:8]
    gauss = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    kernel = gauss / gauss.sum() * (x**2 + y**2 - 2 * 1.5**2) / 1.5**4
    return kernel - kernel.mean()


def test_same_image_is_perfect_and_an_offset_changes_nothing(image):
    assert hfen(image, image) == 0
    assert hfen(image + 0.004, image) < 1e-5


def test_a_factor_is_its_distance_from_1(image):
    assert hfen(0.8 * image, image, PLAIN) == pytest.approx(0.2, rel=1e-5)


def test_as_the_paper_filters(image, noise):
    one, other = (correlate(x[0].double().numpy(), log_kernel(), mode="reflect") for x in (image + noise, image))
    expected = np.linalg.norm(one - other) / np.linalg.norm(other)
    assert hfen((image + noise)[0], image[0], PLAIN) == pytest.approx(expected, rel=2e-3)


def test_slices_do_not_mix(image, noise):
    mask = torch.zeros(image.shape, dtype=torch.bool)
    mask[1] = True
    assert hfen(image + noise, image, mask=mask) == pytest.approx(hfen(image[1] + noise[1], image[1]), rel=1e-4)


def test_a_flat_reference_has_no_edges_to_lose(image):
    assert hfen(image, torch.zeros_like(image), PLAIN) == math.inf
