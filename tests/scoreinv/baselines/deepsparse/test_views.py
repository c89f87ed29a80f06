from itertools import permutations

import numpy as np
import pytest

from scoreinv.baselines.deepsparse.views import hybrid_views, match, spread


def around(a, b):
    return min(abs(a - b), 1 - abs(a - b))


@pytest.mark.parametrize("seed", range(20))
def test_match_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    few, dense = rng.random(rng.integers(1, 4)), rng.random(5)
    costs = [
        sum(around(a, dense[k]) for a, k in zip(few, chosen, strict=True))
        for chosen in permutations(range(5), len(few))
    ]
    chosen = match(few, dense)
    assert len(set(chosen.tolist())) == len(few)
    assert np.isclose(sum(around(a, dense[k]) for a, k in zip(few, chosen, strict=True)), min(costs))


def test_match_knows_that_the_arc_closes():
    assert match(np.array([0.98]), np.array([0.01, 0.5, 0.9])).tolist() == [0]


@pytest.mark.parametrize("few", [1, 6, 13, 24])
def test_union_is_nearly_an_even_spread(few):
    rng = np.random.default_rng(few)
    shown, auxiliary = hybrid_views(rng, few)
    assert (len(shown), len(auxiliary)) == (few, 24 - few)
    assert np.allclose(np.diff(shown), 1 / few)
    both = np.sort(np.concatenate([shown, auxiliary]))
    gaps = np.diff(both, append=both[0] + 1)
    assert gaps.max() < 2.01 / 24
    assert 0 <= both.min() <= both.max() < 1


def test_same_generator_same_views():
    first, second = (hybrid_views(np.random.default_rng(7), 9) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("few", [0, 25])
def test_more_than_all_views_are_refused(few):
    with pytest.raises(ValueError, match=f"few is {few}, expected 1 to 24"):
        hybrid_views(np.random.default_rng(0), few)


def test_spread_is_even():
    assert np.allclose(spread(4, 0.5), [0.125, 0.375, 0.625, 0.875])
