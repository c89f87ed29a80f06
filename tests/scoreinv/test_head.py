"""Properties of the random MR heads."""

import pytest
import torch

from scoreinv.head import TISSUES, WEIGHTINGS, Head, contrast, head

SHAPE, VOXEL = (10, 96, 80), (12.0, 2.4, 2.4)
SEEDS = range(6)


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    """Six heads of SHAPE."""
    return [head(seed, SHAPE, VOXEL) for seed in SEEDS]


def mean(image: torch.Tensor, share: torch.Tensor) -> float:
    """Mean of an image over the voxels that one tissue nearly fills."""
    return float(image[share > 0.98].mean())


def test_same_seed_same_head(heads: list[Head]) -> None:
    assert torch.equal(head(3, SHAPE, VOXEL).fractions, heads[3].fractions)


def test_different_seeds_differ(heads: list[Head]) -> None:
    for one, other in zip(heads[1:], heads[:-1], strict=True):
        assert (one.fractions - other.fractions).abs().sum(0).mean() > 0.1


@pytest.mark.parametrize("seed", [0, 5])
def test_larger_box_holds_the_same_head(heads: list[Head], seed: int) -> None:
    small = head(seed, (4, 40, 32), VOXEL).fractions
    torch.testing.assert_close(small, heads[seed].fractions[:, 3:-3, 28:-28, 24:-24], atol=0.02, rtol=0)


def test_thinner_slices_cut_the_same_head(heads: list[Head]) -> None:
    thin = head(4, (19, 96, 80), (6.0, 2.4, 2.4)).fractions[:, ::2]
    torch.testing.assert_close(thin, heads[4].fractions, atol=0.02, rtol=0)


def test_voxel_size_changes_sampling_only(heads: list[Head]) -> None:
    fine = head(1, (10, 192, 160), (12.0, 1.2, 1.2)).fractions
    averaged = torch.nn.functional.avg_pool2d(fine, 2)
    apart = (averaged - heads[1].fractions).abs().sum(0).mean()
    assert apart < 0.2 * (heads[2].fractions - heads[1].fractions).abs().sum(0).mean()


def test_box_beside_the_head_is_air() -> None:
    wide = head(0, (3, 200, 200), (20.0, 2.4, 2.4))
    assert bool((wide.fraction("air")[:, :, :20] == 1).all())


def test_fractions_share_each_voxel(heads: list[Head]) -> None:
    for one in heads:
        assert one.fractions.shape == (len(TISSUES), *SHAPE)
        assert one.fractions.dtype == torch.float32
        assert one.fractions.min() >= 0
        assert one.fractions.max() <= 1 + 1e-6
        torch.testing.assert_close(one.fractions.sum(0), torch.ones(SHAPE))


def test_tissues_have_head_like_volumes() -> None:
    whole = [head(seed, (46, 60, 46), (4.0, 4.0, 4.0)) for seed in (0, 1, 2)]
    for one in whole:
        litres = {name: float(one.fraction(name).sum()) * 64e-6 for name in TISSUES}
        assert 0.35 < litres["grey"] < 0.95
        assert 0.25 < litres["white"] < 0.80
        assert 0.07 < litres["cerebellum"] + litres["brainstem"] < 0.25
        assert 0.05 < litres["csf"] < 0.50


def test_brain_lies_inside_the_skull(heads: list[Head]) -> None:
    for one in heads:
        brain = one.fraction("grey") + one.fraction("white") + one.fraction("deep grey")
        bone = one.fraction("bone") + one.fraction("marrow") > 0.5
        # From the side, every voxel of the upper brain is behind bone on both sides.
        left, right = bone.cumsum(-1) > 0, bone.flip(-1).cumsum(-1).flip(-1) > 0
        enclosed = left & right
        assert float(brain[enclosed].sum() / brain.sum()) > 0.99


def test_weightings_order_the_tissues(heads: list[Head]) -> None:
    for seed, one in enumerate(heads):
        images = {weighting: contrast(one, weighting, seed) for weighting in WEIGHTINGS}
        fluid, grey, white = (one.fraction(name) for name in ("csf", "grey", "white"))
        level = {w: [mean(image, share) for share in (fluid, grey, white)] for w, image in images.items()}
        assert level["t1"][2] > 1.05 * level["t1"][1] > 1.1 * level["t1"][0]
        assert level["t2"][0] > 1.5 * level["t2"][1] > 1.5 * 1.05 * level["t2"][2]
        assert level["flair"][0] < 0.2 * level["flair"][2]


def test_contrast_is_a_normalised_magnitude(heads: list[Head]) -> None:
    for weighting in WEIGHTINGS:
        image = contrast(heads[0], weighting, 7)
        assert image.shape == SHAPE
        assert image.dtype == torch.float32
        assert image.min() >= 0
        assert float(torch.quantile(image, 0.995)) == pytest.approx(1, abs=0.01)
        assert torch.equal(image, contrast(heads[0], weighting, 7))
        assert not torch.equal(image, contrast(heads[0], weighting, 8))


def test_bad_arguments_refused(heads: list[Head]) -> None:
    with pytest.raises(ValueError, match="seed: expected an int >= 0"):
        head(-1, SHAPE, VOXEL)
    with pytest.raises(ValueError, match="shape: expected 3 positive ints"):
        head(0, (4, 0, 4), VOXEL)
    with pytest.raises(ValueError, match="voxel_size: expected 3 positive mm"):
        head(0, SHAPE, (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="no weighting 't3'; pass one of t1"):
        contrast(heads[0], "t3", 0)
    with pytest.raises(ValueError, match="seed: expected an int >= 0"):
        contrast(heads[0], "t1", -1)
    with pytest.raises(ValueError, match="no tissue 'gold'; pass one of air"):
        heads[0].fraction("gold")
