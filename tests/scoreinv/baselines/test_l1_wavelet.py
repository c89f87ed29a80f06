"""Wavelets that are orthonormal, and FISTA that minimises what it says."""

import pytest
import torch
from torch import Tensor

from scoreinv.baselines import l1_wavelet
from scoreinv.baselines.wavelets import Wavelets
from scoreinv.operators import Gaussian

shapes = pytest.mark.parametrize("shape", [(64, 48), (230, 180), (26, 40, 7), (5, 9), (17,)])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex64)


@shapes
def test_wavelets_are_orthonormal(shape: tuple[int, ...]) -> None:
    wavelets = Wavelets(shape)
    x, c = random(*wavelets.shape), random(*wavelets.shape, seed=1)
    torch.testing.assert_close(wavelets.inverse(wavelets.forward(x)), x, rtol=0, atol=1e-5)
    forward = torch.vdot(c.flatten(), wavelets.forward(x).flatten())
    torch.testing.assert_close(forward, torch.vdot(wavelets.inverse(c).flatten(), x.flatten()), rtol=1e-4, atol=1e-3)
    assert all(0 <= padded - n < 16 for padded, n in zip(wavelets.shape, shape, strict=True))


def test_details_of_cubic_polynomials_vanish_away_from_the_border() -> None:
    t = torch.linspace(-1, 1, 64, dtype=torch.float64)
    coefficients = Wavelets((64,)).forward(1 - t + 2 * t**2 - 3 * t**3)
    assert float(coefficients[32:60].abs().max()) < 1e-10  # finest details; the last three wrap around
    assert float(coefficients[:8].norm()) > 1


@shapes
def test_shrinking_is_nonexpansive_and_keeps_what_is_coarse(shape: tuple[int, ...]) -> None:
    wavelets = Wavelets(shape)
    a, b = random(*wavelets.shape), random(*wavelets.shape, seed=1)
    assert float((wavelets.shrink(a, 0.5) - wavelets.shrink(b, 0.5)).norm()) <= float((a - b).norm())
    constant = torch.full(wavelets.shape, 2 + 1j)
    torch.testing.assert_close(wavelets.shrink(constant, 1e6), constant, rtol=1e-5, atol=0)


def test_shrinking_moves_each_detail_towards_zero_along_its_phase() -> None:
    wavelets = Wavelets((16, 16))
    x = wavelets.inverse(0.5 * random(16, 16))
    before, after = wavelets.forward(x)[8:, 8:], wavelets.forward(wavelets.shrink(x, 0.4))[8:, 8:]
    expected = torch.polar((before.abs() - 0.4).clamp(min=0), before.angle())
    torch.testing.assert_close(after, expected, rtol=0, atol=1e-5)


def test_the_objective_goes_down(scan):
    operator, _, y = scan
    sigma, strength = 0.01, 0.7
    noise = random(*operator.in_shape)
    weight = strength * float(operator.forward(noise).norm()) / noise.numel() ** 0.5 / sigma
    wavelets = Wavelets(operator.in_shape)

    def objective(x: Tensor) -> float:
        """Its mean over the shifts of the wavelets."""
        total = float((operator.forward(x) - y).abs().square().sum()) / (2 * sigma**2)
        padded = torch.nn.functional.pad(x, (0, wavelets.shape[1] - x.shape[1], 0, wavelets.shape[0] - x.shape[0]))
        coarse = [n // wavelets.period for n in wavelets.shape]
        for shift in range(wavelets.period):
            sizes = wavelets.forward(padded.roll((shift, shift), (0, 1))).abs()
            total += weight * float(sizes.sum() - sizes[: coarse[0], : coarse[1]].sum()) / wavelets.period
        return total

    values = [objective(l1_wavelet(operator, y, likelihood=Gaussian(sigma), iterations=n)) for n in (1, 5, 20, 80)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1.02 * objective(l1_wavelet(operator, y, likelihood=Gaussian(sigma), iterations=160))


def test_the_noise_is_that_of_the_weakest_samples(scan):
    operator, _, y = scan
    known = l1_wavelet(operator, y, likelihood=Gaussian(0.01))
    assert float((l1_wavelet(operator, y) - known).norm() / known.norm()) < 0.1


def test_masked_data_do_not_matter(scan):
    operator, _, y = scan
    good = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) > 0.1
    likelihood = Gaussian(0.01, good)
    spoilt = l1_wavelet(operator, torch.where(good, y, 1e3 * operator.mask), likelihood=likelihood, iterations=5)
    torch.testing.assert_close(spoilt, l1_wavelet(operator, y, likelihood=likelihood, iterations=5), rtol=0, atol=1e-5)


def test_wrong_options_are_refused_in_one_line(scan):
    operator, _, y = scan
    for options in ({"iterations": 0}, {"strength": 0.0}):
        with pytest.raises(ValueError, match=r"^l1_wavelet: strength .*expected strength > 0 and iterations >= 1$"):
            l1_wavelet(operator, y, **options)
