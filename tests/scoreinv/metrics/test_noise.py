import math

import pytest
import torch
from scipy.ndimage import gaussian_filter

from scoreinv.metrics import noise_power


def white(*shape, seed=0):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("shape", "size"), [((40, 24, 32), (0.5, 2.0)), ((20, 8, 12, 10), (4.0, 1.5, 1.0))])
def test_integrates_to_the_variance(shape, size):
    regions = white(*shape)
    axes = tuple(range(1, len(shape)))
    expected = float(regions.var(axes, correction=0).mean())
    assert noise_power(regions, size).variance == pytest.approx(expected, rel=1e-9)


def test_white_noise_is_flat_at_variance_times_area():
    spectrum = noise_power(white(2000, 16, 16), (0.5, 2.0))
    flat = spectrum.power.flatten()[1:]
    assert float(flat.mean()) == pytest.approx(9 * 0.5 * 2.0, rel=0.01)
    assert float(flat.std() / flat.mean()) == pytest.approx(1 / math.sqrt(2000), rel=0.25)
    assert float(spectrum.power[0, 0]) < 1e-20


def test_filtered_noise_follows_its_filter():
    width, size = 1.2, 0.8
    noise = gaussian_filter(white(300, 64, 64).numpy(), (0, width, width), mode="wrap")
    frequency, power = noise_power(torch.from_numpy(noise), (size, size)).radial()
    expected = 9 * size**2 * torch.exp(-((2 * math.pi * frequency * width * size) ** 2))
    low = (frequency > 0) & (frequency < 0.35 / size)
    torch.testing.assert_close(power[low], expected[low], rtol=0.08, atol=0.02)


def test_frequencies_end_at_nyquist():
    spectrum = noise_power(white(3, 10, 10), (0.5, 0.5))
    assert max(float(f.abs().max()) for f in spectrum.frequencies) == pytest.approx(1.0)
    assert float(spectrum.radial()[0].max()) <= 1.0 + 0.1


def test_a_constant_has_no_power():
    assert noise_power(torch.full((2, 8, 8), 5.0), (1.0, 1.0)).variance == 0


@pytest.mark.parametrize(
    ("regions", "size", "word"),
    [
        (torch.zeros(8, 8), (1.0, 1.0), "expected"),
        (torch.zeros(2, 8, 8), (1.0,), "positive lengths"),
        (torch.zeros(2, 8, 8), (1.0, 0.0), "positive lengths"),
    ],
)
def test_what_does_not_fit_is_refused(regions, size, word):
    with pytest.raises(ValueError, match=word):
        noise_power(regions, size)


def test_complex_regions_are_refused():
    with pytest.raises(TypeError, match="imaginary"):
        noise_power(torch.zeros(2, 8, 8, dtype=torch.complex64), (1.0, 1.0))
