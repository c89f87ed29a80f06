"""Intervals, quantiles and probabilities."""

import pytest
import torch
from toys import random

from scoreinv.uncertainty import deviations, exceedance, factor, quantiles


@pytest.mark.parametrize("samples", [3, 8, 50])
def test_intervals_of_few_gaussian_samples_cover_as_they_claim(samples):
    draws = random(samples + 1, 200_000)
    away = deviations(draws[-1], draws[:-1].mean(0), draws[:-1].std(0))
    for level in (0.5, 0.9):
        assert float((away <= factor(level, samples)).double().mean()) == pytest.approx(level, abs=0.005)


def test_one_more_draw_falls_below_a_quantile_as_often_as_it_says():
    draws = random(20, 200_000).exp()
    low, high = quantiles(draws[:-1], [0.05, 0.95])
    assert float((draws[-1] < low).double().mean()) == pytest.approx(0.05, abs=0.003)
    assert float((draws[-1] > high).double().mean()) == pytest.approx(0.05, abs=0.003)


def test_quantiles_beyond_the_samples_are_refused():
    with pytest.raises(ValueError, match="expected at least 19 samples"):
        quantiles(random(18, 3), [0.05, 0.95])


def test_exceedance_is_a_share_of_samples():
    assert exceedance(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), 0.5).tolist() == [0.5, 1.0]


def test_no_error_is_no_deviation_even_without_spread():
    away = deviations(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 2.0]), torch.zeros(2))
    assert away.tolist() == [0.0, float("inf")]
