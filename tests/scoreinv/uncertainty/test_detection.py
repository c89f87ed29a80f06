"""Receiver operating characteristics."""

import numpy as np
import pytest
from scipy import stats

from scoreinv.uncertainty import roc


def test_area_is_the_probability_of_ranking_a_pair_right():
    generator = np.random.default_rng(0)
    present, absent = generator.normal(1, 1, 40).round(1), generator.normal(0, 1, 50).round(1)
    expected = stats.mannwhitneyu(present, absent).statistic / (40 * 50)
    assert roc(present, absent).area == pytest.approx(expected)


def test_curve_goes_from_nothing_to_everything():
    curve = roc([2, 3], [0, 1])
    assert (curve.false_positives[0], curve.true_positives[0]) == (0, 0)
    assert (curve.false_positives[-1], curve.true_positives[-1]) == (1, 1)
    assert curve.area == 1


def test_no_cases_are_refused():
    with pytest.raises(ValueError, match="0 of what is absent"):
        roc([1.0], [])
