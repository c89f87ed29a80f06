import warnings
from dataclasses import replace

import pytest
import torch
from toy_networks import SMALL, data, scan, small_network

from scoreinv.baselines.learned import TrainingScans, reconstruct
from scoreinv.operators import ParallelBeamCT, ParallelBeamGeometry, Volume

POINTWISE = ("deepsparse", "dif_net", "pixelnerf")


@pytest.fixture(params=POINTWISE)
def pointwise(request):
    return small_network(request.param)


def test_chunks_change_nothing(pointwise, operator):
    y = data(operator)
    whole = reconstruct(pointwise, operator, y)
    assert whole.shape == operator.in_shape
    assert whole.std() > 0
    pointwise.chunk = 101
    torch.testing.assert_close(reconstruct(pointwise, operator, y), whole, rtol=1e-5, atol=1e-7)


def test_resolution_only_chooses_where_the_same_image_is_sampled(pointwise):
    coarse, fine = scan(voxels=(4, 4, 4)), scan(voxels=(12, 12, 12))
    y = data(coarse)
    sampled = reconstruct(pointwise, fine, y)[1::3, 1::3, 1::3]
    torch.testing.assert_close(reconstruct(pointwise, coarse, y), sampled, rtol=1e-4, atol=1e-6)


def test_order_of_views_changes_nothing(pointwise):
    operator = scan(views=6)
    y = data(operator)
    geometry = operator.geometry
    fields = ("sources", "detector_centers", "v_steps", "u_steps")
    turned = replace(geometry, **{name: getattr(geometry, name)[::-1] for name in fields})
    other = type(operator)(turned, operator.volume)
    torch.testing.assert_close(
        reconstruct(pointwise, other, y.flip(0)), reconstruct(pointwise, operator, y), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("name", SMALL)
def test_two_views_are_enough_and_mode_does_not_matter(name):
    network, operator = small_network(name).train(), scan(views=2)
    image = reconstruct(network, operator, data(operator))
    assert image.shape == operator.in_shape
    assert image.isfinite().all()
    assert not network.training
    assert not image.requires_grad


def test_scan_unlike_the_training_is_warned_of(network):
    known = scan(views=6)
    network.trained_on = TrainingScans.of(known.geometry, known.volume, (6, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconstruct(network, known, data(known))
        eight = scan(views=8, voxels=(5, 6, 7))
        reconstruct(network, eight, data(eight))
    for other, says in (
        (scan(views=5), r"5 views \(training: 6 to 8\)"),
        (scan(offset=(0.0, 20.0)), r"detector_offset 0 x 20 \(training: 0 x 0\)"),
        (scan(distance=180.0), r"source_to_isocenter 180 \(training: 200\)"),
    ):
        with pytest.warns(UserWarning, match=says) as caught:
            reconstruct(network, other, data(other))
        assert caught[0].filename == __file__


def test_detector_that_misses_the_lattice_is_warned_of(network):
    operator = scan(detector=(4, 18))
    with pytest.warns(UserWarning, match="% of the volume falls beside the detector in every view"):
        reconstruct(network, operator, data(operator))


def test_measurements_of_another_scan_are_refused(network, operator):
    with pytest.raises(ValueError, match=r"deepsparse: measurements have shape \(5, 14, 18\), expected \(6, 14, 18\)"):
        reconstruct(network, operator, data(operator)[:5])
    bad = data(operator)
    bad[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="hold 1 NaN or Inf"):
        reconstruct(network, operator, bad)


def test_other_operators_are_refused(network):
    flat = ParallelBeamCT(ParallelBeamGeometry.circular((4, 4), (2.0, 2.0), [0.0] * 4), Volume((4, 4, 4), (2, 2, 2)))
    with pytest.raises(TypeError, match="expected ConeBeamCT"):
        reconstruct(network, flat, torch.zeros(flat.out_shape))
    with pytest.raises(TypeError, match="network is Identity, expected a learned baseline"):
        reconstruct(torch.nn.Identity(), scan(), torch.zeros(6, 14, 18))
