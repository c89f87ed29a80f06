import numpy as np
import pytest
import torch
from toy_training import training

from scoreinv.training.learned.draws import even_views, some_views, some_voxels, stacked, truth
from scoreinv.training.pair_source import PairSource


@pytest.fixture(scope="module")
def pair():
    return PairSource(training("dif_net").data, 0).validation()[0]


def test_voxels_are_of_one_sub_lattice_and_have_their_attenuation(pair):
    points, values = some_voxels(np.random.default_rng(0), pair, 40)
    index = ((points.numpy() - pair.grid.first_voxel) / pair.grid.voxel_size).round().astype(int)
    np.testing.assert_allclose(pair.grid.first_voxel + index * pair.grid.voxel_size, points)
    assert len({tuple(i) for i in index % 4}) == 1
    assert len({tuple(i) for i in index}) == 40
    assert torch.equal(values, truth(pair)[tuple(index.T)])


def test_more_voxels_than_there_are_repeat(pair):
    points, values = some_voxels(np.random.default_rng(0), pair, 100)
    assert len(points) == len(values) == 100
    assert len(np.unique(points.numpy(), axis=0)) <= 64


def test_even_views_are_even_and_turn(pair):
    angles = np.arctan2(pair.geometry.sources[:, 1], pair.geometry.sources[:, 2])
    starts = set()
    for seed in range(5):
        geometry, projections = even_views(np.random.default_rng(seed), pair, 5)
        here = np.arctan2(geometry.sources[:, 1], geometry.sources[:, 2])
        np.testing.assert_allclose(np.diff(here), np.pi / 5)
        chosen = [int(np.abs(angles - angle).argmin()) for angle in here]
        assert torch.equal(projections, pair.projections[chosen])
        starts.add(chosen[0])
    assert len(starts) > 1


def test_more_views_than_candidates_are_refused(pair):
    with pytest.raises(ValueError, match="phantom 0 has 20 views, expected at least 21"):
        some_views(pair, np.arange(21) / 21)


def test_truth_lies_within_the_window(pair):
    assert truth(pair).min() >= 0
    assert truth(pair).max() <= 1
    inside = pair.attenuation < 0.04
    torch.testing.assert_close(truth(pair)[inside] * 0.04, pair.attenuation[inside].clamp(min=0))


def test_different_detectors_are_not_stacked():
    items = [(torch.zeros(4, 8, 8),), (torch.zeros(4, 8, 9),)]
    with pytest.raises(ValueError, match=r"sizes \[\(4, 8, 8\), \(4, 8, 9\)\] in one batch.*set batch=1"):
        stacked(items, torch.device("cpu"))
