import warnings
from dataclasses import replace

import pytest
import torch
from toy_dice import data, scan

from scoreinv.baselines.deepsparse import TrainingScans, deepsparse
from scoreinv.operators import ParallelBeamCT, ParallelBeamGeometry, Volume


def test_chunks_change_nothing(network, operator):
    y = data(operator)
    whole = deepsparse(operator, y, network)
    assert whole.shape == operator.in_shape
    assert whole.std() > 0
    torch.testing.assert_close(deepsparse(operator, y, network, chunk=101), whole, rtol=1e-5, atol=1e-7)


def test_resolution_only_chooses_where_the_same_image_is_sampled(network):
    coarse, fine = scan(voxels=(4, 4, 4)), scan(voxels=(12, 12, 12))
    y = data(coarse)
    sampled = deepsparse(fine, y, network)[1::3, 1::3, 1::3]
    torch.testing.assert_close(deepsparse(coarse, y, network), sampled, rtol=1e-4, atol=1e-6)


def test_order_of_views_changes_nothing(network):
    operator = scan(views=6)
    y = data(operator)
    geometry = operator.geometry
    fields = ("sources", "detector_centers", "v_steps", "u_steps")
    turned = replace(geometry, **{name: getattr(geometry, name)[::-1] for name in fields})
    other = type(operator)(turned, operator.volume)
    torch.testing.assert_close(
        deepsparse(other, y.flip(0), network), deepsparse(operator, y, network), rtol=1e-5, atol=1e-7
    )


def test_denoising_layers_are_used_when_they_are_to_be(network, operator):
    y = data(operator)
    whole = deepsparse(operator, y, network)
    network.denoise = False
    assert not torch.equal(deepsparse(operator, y, network), whole)


def test_fewer_than_four_views_are_refused(network):
    operator = scan(views=3)
    with pytest.raises(ValueError, match="3 views, expected at least 4"):
        deepsparse(operator, data(operator), network)


def test_scan_unlike_the_training_is_warned_of(network):
    known = scan(views=6)
    network.trained_on = TrainingScans.of(known.geometry, known.volume, (6, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deepsparse(known, data(known), network)
        eight = scan(views=8, voxels=(5, 6, 7))
        deepsparse(eight, data(eight), network)
    for other, says in (
        (scan(views=5), r"5 views \(training: 6 to 8\)"),
        (scan(offset=(0.0, 20.0)), r"detector_offset 0 x 20 \(training: 0 x 0\)"),
        (scan(distance=180.0), r"source_to_isocenter 180 \(training: 200\)"),
    ):
        with pytest.warns(UserWarning, match=says) as caught:
            deepsparse(other, data(other), network)
        assert caught[0].filename == __file__


def test_detector_that_misses_the_lattice_is_warned_of(network):
    operator = scan(detector=(4, 18))
    with pytest.warns(UserWarning, match="% of the volume falls beside the detector in every view"):
        deepsparse(operator, data(operator), network)


def test_measurements_of_another_scan_are_refused(network, operator):
    with pytest.raises(ValueError, match=r"deepsparse: measurements have shape \(5, 14, 18\), expected \(6, 14, 18\)"):
        deepsparse(operator, data(operator)[:5], network)
    bad = data(operator)
    bad[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="hold 1 NaN or Inf"):
        deepsparse(operator, bad, network)


def test_other_operators_are_refused(network):
    flat = ParallelBeamCT(ParallelBeamGeometry.circular((4, 4), (2.0, 2.0), [0.0] * 4), Volume((4, 4, 4), (2, 2, 2)))
    with pytest.raises(TypeError, match="expected ConeBeamCT"):
        deepsparse(flat, torch.zeros(flat.out_shape), network)
    with pytest.raises(TypeError, match="expected DiCE"):
        deepsparse(scan(), torch.zeros(6, 14, 18), torch.nn.Identity())
