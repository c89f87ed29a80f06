"""Properties of the random CT anatomies."""

import pytest
import torch

from scoreinv.phantoms import body

SHAPE, VOXEL = (16, 96, 128), (6.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def patients() -> torch.Tensor:
    """Sixteen anatomies of SHAPE, in HU."""
    return torch.stack([body(seed, SHAPE, VOXEL) for seed in range(16)])


def test_same_seed_same_anatomy(patients: torch.Tensor) -> None:
    assert torch.equal(body(3, SHAPE, VOXEL), patients[3])


@pytest.mark.parametrize(
    ("seed", "mean", "std", "voxels"),
    [
        (0, -664.137, 458.731, [54.118, 42.820, 33.893, -77.041, -95.339, -870.138]),
        (1, -605.709, 493.445, [-558.335, -784.069, -262.992, -872.538, 79.832, 399.213]),
        (3, -795.159, 401.460, [34.959, 37.265, 600.067, -110.271, -1000.0, -1000.0]),
    ],
)
def test_anatomies_are_those_that_priors_were_trained_on(
    seed: int, mean: float, std: float, voxels: list[float]
) -> None:
    volume = body(seed, (6, 40, 44), (12.0, 9.0, 9.0))
    assert (float(volume.mean()), float(volume.std())) == pytest.approx((mean, std), abs=0.01)
    assert [float(volume[k, 20, 15 + 4 * k]) for k in range(6)] == pytest.approx(voxels, abs=0.05)


def test_different_seeds_differ(patients: torch.Tensor) -> None:
    assert (patients[1:] - patients[:-1]).abs().mean(dim=(1, 2, 3)).min() > 20


@pytest.mark.parametrize("shape", [SHAPE, (1, 64, 64), (5, 33, 70)])
def test_float32_volume_of_the_asked_shape(shape: tuple[int, int, int]) -> None:
    volume = body(0, shape, VOXEL)
    assert volume.shape == shape
    assert volume.dtype == torch.float32
    assert bool(((volume >= -1000) & (volume <= 3000)).all())


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_voxel_size_changes_sampling_only(seed: int) -> None:
    coarse = body(seed, (12, 64, 80), (6.0, 6.0, 6.0))
    fine = body(seed, (24, 128, 160), (3.0, 3.0, 3.0))
    averaged = torch.nn.functional.avg_pool3d(fine[None], 2)[0]
    other = body(seed + 10, (12, 64, 80), (6.0, 6.0, 6.0))
    assert torch.corrcoef(torch.stack([coarse.flatten(), averaged.flatten()]))[0, 1] > 0.985
    assert (coarse - averaged).abs().mean() < 0.25 * (coarse - other).abs().mean()


@pytest.mark.parametrize("seed", [0, 2])
def test_larger_box_holds_the_same_anatomy(seed: int) -> None:
    small, large = body(seed, (8, 64, 64), VOXEL), body(seed, (16, 96, 128), VOXEL)
    torch.testing.assert_close(small, large[4:-4, 16:-16, 32:-32], atol=0.5, rtol=0)


def test_air_outside() -> None:
    for seed in range(6):
        volume = body(seed, (8, 160, 160), (6.0, 4.0, 4.0))
        assert (volume[:, :10] == -1000).all()


def test_tissues_have_patient_like_fractions(patients: torch.Tensor) -> None:
    share = {
        name: float(((patients > low) & (patients < high)).float().mean())
        for name, (low, high) in {
            "lung": (-930, -700),
            "fat": (-140, -60),
            "soft": (0, 120),
            "bone": (200, 3001),
        }.items()
    }
    assert 0.02 < share["lung"] < 0.25
    assert 0.04 < share["fat"] < 0.30
    assert 0.10 < share["soft"] < 0.45
    assert 0.01 < share["bone"] < 0.10


def test_liver_lies_on_the_patients_right(patients: torch.Tensor) -> None:
    soft = ((patients > 20) & (patients < 150)).float()
    assert soft[..., :64].sum() > 1.02 * soft[..., 64:].sum()


def test_back_is_posterior(patients: torch.Tensor) -> None:
    bone = (patients > 200).float()
    assert bone[:, :, 48:].sum() > 1.2 * bone[:, :, :48].sum()


@pytest.mark.parametrize("shape", [(4, 4), (4, 0, 4), (4, 4.0, 4), (4, -1, 4)])
def test_bad_shape_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape: expected 3 positive ints"):
        body(0, shape, VOXEL)  # type: ignore[arg-type]


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, float("nan"), 1.0)])
def test_bad_voxel_size_refused(voxel_size: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="voxel_size: expected 3 positive mm"):
        body(0, SHAPE, voxel_size)  # type: ignore[arg-type]


def test_negative_seed_refused() -> None:
    with pytest.raises(ValueError, match="seed: expected an int >= 0"):
        body(-1, SHAPE, VOXEL)
