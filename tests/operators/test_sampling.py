import pytest
import torch

from scoreinv.operators import CartesianMRI
from scoreinv.operators.sampling import equispaced, partial_fourier, poisson_disc, random_lines

LINES = {"equispaced": equispaced, "random lines": random_lines}
lines = pytest.mark.parametrize("make", LINES.values(), ids=LINES.keys())


@lines
@pytest.mark.parametrize("shape", [(96, 40), (3, 95, 40)])
@pytest.mark.parametrize("acceleration", [1, 2.5, 4, 6])
def test_lines_keep_readouts_calibration_and_acceleration(make, shape, acceleration):
    mask = make(shape, acceleration, 8)
    assert mask.dtype == torch.bool
    assert mask.shape == shape
    assert torch.equal(mask, mask[..., :1].expand(shape))
    chosen = mask.reshape(-1, *shape[-2:])[0, :, 0]
    assert int(chosen.sum()) == round(shape[-2] / acceleration)
    assert chosen[shape[-2] // 2 - 4 : shape[-2] // 2 + 4].all()
    CartesianMRI(mask)


def test_equispaced_lines_lie_at_even_distances():
    chosen = equispaced((256, 4), 4, 0)[:, 0].nonzero().flatten()
    assert chosen.diff().unique().tolist() == [4]
    gaps = equispaced((256, 4), 4, 24)[:100, 0].nonzero().flatten().diff()
    assert gaps.max() - gaps.min() <= 1


def test_the_seed_decides():
    for make in (random_lines, poisson_disc):
        assert torch.equal(make((64, 64), 4, 8, seed=1), make((64, 64), 4, 8, seed=1))
        assert not torch.equal(make((64, 64), 4, 8, seed=1), make((64, 64), 4, 8, seed=2))


@pytest.mark.parametrize("acceleration", [2, 5, 10])
@pytest.mark.parametrize("density", [0.0, 2.0])
def test_poisson_discs_reach_their_acceleration(acceleration, density):
    mask = poisson_disc((72, 90), acceleration, 12, density=density)
    assert int(mask.sum()) == round(72 * 90 / acceleration)
    assert mask[30:42, 39:51].all()


def test_poisson_discs_keep_their_distance():
    places = poisson_disc((80, 80), 9, 0, density=0).nonzero().float()
    nearest = (torch.cdist(places, places) + 1e3 * torch.eye(len(places))).min(1).values
    assert nearest.min() >= 2  # the even grid of as many samples has a distance of 3


def test_poisson_discs_thin_out_towards_the_edge():
    mask = poisson_disc((80, 80), 8, 0, density=3).float()
    assert mask[24:56, 24:56].mean() > 2 * mask[:, :8].mean()
    even = poisson_disc((80, 80), 8, 0, density=0).float()
    assert even[24:56, 24:56].mean() == pytest.approx(float(even[:, :8].mean()), rel=0.3)


def test_poisson_discs_of_a_volume_are_whole_readouts():
    mask = poisson_disc((40, 30, 6), 4, 6)
    assert torch.equal(mask, mask[..., :1].expand(40, 30, 6))
    assert torch.equal(mask[..., 0], poisson_disc((40, 30), 4, 6))


@pytest.mark.parametrize(("fraction", "kept"), [(6 / 8, 48), (0.51, 33), (1, 64)])
def test_partial_fourier_keeps_the_first_lines_and_the_middle(fraction, kept):
    mask = partial_fourier((2, 64, 5), fraction)
    assert mask[:, :kept].all()
    assert not mask[:, kept:].any()
    assert int((mask & equispaced((2, 64, 5), 2, 0)).sum()) == pytest.approx(kept * 5, abs=10)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: equispaced((64, 4), 4, 24), "block holds 24 of 64 places, acceleration 4 allows 16"),
        (lambda: random_lines((64, 4), 0.5, 4), "acceleration is 0.5, expected 1 or more"),
        (lambda: poisson_disc((64, 64), 4, 40), "make the block smaller"),
        (lambda: poisson_disc((64,), 4), r"shape is \(64,\), expected \(y, x\)"),
        (lambda: poisson_disc((64, 64), 4, 8, density=-1), "density is -1"),
        (lambda: partial_fourier((64, 64), 0.5), "fraction is 0.5, expected above 0.5"),
    ],
)
def test_impossible_masks_are_refused(build, says):
    with pytest.raises(ValueError, match=says):
        build()
