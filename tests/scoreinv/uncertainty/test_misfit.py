"""Misfit against the noise."""

import pytest
import torch
from toys import Columns, random

from scoreinv.operators import Gaussian, Poisson
from scoreinv.uncertainty import misfit


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_truth_misses_its_data_by_their_noise(dtype):
    A = Columns((40, 100), (40, 50), dtype, dtype)
    truth = random(40, 100, dtype=dtype)
    likelihood = Gaussian(0.3)
    y = likelihood.simulate(A(truth), torch.Generator().manual_seed(1))
    found = misfit(A, y, likelihood, torch.stack([truth, truth + 1]))
    assert abs(float(found.chi_square[0]) - 1) < 4 * found.width
    assert float(found.chi_square[1]) > 5


def test_counts_and_masked_data():
    A = Columns((40, 100), (40, 50), torch.float64, torch.float64)
    truth = 20 + 5 * random(40, 100).abs()
    mask = torch.ones(40, 50, dtype=torch.float64)
    mask[:10] = 0
    likelihood = Poisson(1.0, mask)
    y = likelihood.simulate(A(truth), torch.Generator().manual_seed(1))
    y[:10] = 1e6
    found = misfit(A, y, likelihood, truth[None])
    assert abs(float(found.chi_square[0]) - 1) < 0.2
    assert found.width == pytest.approx((2 / 1500) ** 0.5)


def test_lines_that_miss_the_image_say_nothing_unless_they_have_counts():
    A = Columns((40, 100), (40, 50), torch.float64, torch.float64)
    truth = 20 + 5 * random(40, 100).abs()
    truth[20:] = 0
    y = Poisson().simulate(A(truth), torch.Generator().manual_seed(1))
    assert float(misfit(A, y, Poisson(), truth[None]).chi_square[0]) == pytest.approx(1, abs=0.2)
    y[30] = 1
    assert float(misfit(A, y, Poisson(), truth[None]).chi_square[0]) > 1000


def test_events_alone_are_refused():
    A = Columns((4, 10), (4, 5), torch.float64, torch.float64)
    A.partial = True
    with pytest.raises(ValueError, match="not of the lines without any; expected the operator of their histogram"):
        misfit(A, torch.ones(4, 5), Poisson(), torch.ones(1, 4, 10))
