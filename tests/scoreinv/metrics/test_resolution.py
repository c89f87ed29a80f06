import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from scoreinv.metrics import mtf_at_edge


def edge(sigma, degrees=6.0, shape=(64, 60), size=(1.0, 1.0), high=1.0, low=0.0):
    """An edge blurred by a Gaussian of `sigma` mm, sampled at points; crossed along x."""
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, size, strict=True))
    turn = math.radians(degrees)
    distance = x[None] * math.cos(turn) + y[:, None] * math.sin(turn) + 0.3
    return torch.from_numpy(low + (high - low) * 0.5 * (1 + erf(distance / (math.sqrt(2) * sigma))))


def gaussian(frequencies, sigma):
    return torch.exp(-2 * (math.pi * sigma * frequencies) ** 2)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("degrees", [-11.0, 3.0, 6.0])
def test_of_a_gaussian_blur_is_a_gaussian(sigma, degrees):
    response = mtf_at_edge(edge(sigma, degrees), (1.0, 1.0))
    torch.testing.assert_close(response.mtf, gaussian(response.frequencies, sigma), rtol=0, atol=0.02)


def test_half_and_tenth_of_a_gaussian():
    response = mtf_at_edge(edge(1.5), (1.0, 1.0))
    for level in (0.5, 0.1):
        expected = math.sqrt(math.log(1 / level) / 2) / (math.pi * 1.5)
        assert response.at(level) == pytest.approx(expected, rel=0.03)


def test_frequencies_are_those_of_the_pixel():
    small = mtf_at_edge(edge(0.5, size=(0.5, 0.5)), (0.5, 0.5))
    assert float(small.frequencies.max()) == pytest.approx(1.0, abs=0.02)
    torch.testing.assert_close(small.mtf, gaussian(small.frequencies, 0.5), rtol=0, atol=0.02)


def test_pixels_need_not_be_square():
    response = mtf_at_edge(edge(2.0, size=(1.5, 1.0)), (1.5, 1.0))
    torch.testing.assert_close(response.mtf, gaussian(response.frequencies, 2.0), rtol=0, atol=0.02)


def test_direction_contrast_and_offset_change_nothing():
    plain = mtf_at_edge(edge(1.0), (1.0, 1.0))
    for other in (edge(1.0).T, edge(1.0).flip(0, 1), edge(1.0, high=-400.0, low=1000.0)):
        response = mtf_at_edge(other, (1.0, 1.0))
        n = min(len(plain.mtf), len(response.mtf))
        torch.testing.assert_close(response.mtf[:n], plain.mtf[:n], rtol=0, atol=0.01)


def test_little_noise_does_little():
    noisy = edge(1.5) + 0.01 * torch.randn(64, 60, generator=torch.Generator().manual_seed(0))
    assert mtf_at_edge(noisy, (1.0, 1.0)).at(0.5) == pytest.approx(
        math.sqrt(math.log(2) / 2) / (math.pi * 1.5), rel=0.1
    )


def test_what_never_falls_so_far_has_no_frequency():
    assert math.isnan(mtf_at_edge(edge(0.3), (1.0, 1.0)).at(0.05))


@pytest.mark.parametrize(
    ("region", "word"),
    [
        (torch.zeros(40, 40), "constant"),
        (torch.zeros(2, 40, 40), "expected"),
        (edge(1.0, 0.0), "off the axes"),
        (edge(1.0, 42.0), "sides?"),
    ],
)
def test_what_is_no_slanted_edge_is_refused(region, word):
    with pytest.raises(ValueError, match=word):
        mtf_at_edge(region, (1.0, 1.0))


def test_complex_regions_are_refused():
    with pytest.raises(TypeError, match="magnitude"):
        mtf_at_edge(edge(1.0).to(torch.complex64), (1.0, 1.0))
