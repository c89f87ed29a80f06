"""Neural attenuation fields: their rays are the operator's, and they find a body from 24 views."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreinv.baselines import naf, sart
from scoreinv.baselines.ray_samples import RaySamples
from scoreinv.metrics import psnr
from scoreinv.operators import (
    CartesianMRI,
    ConeBeamCT,
    ConeBeamGeometry,
    ParallelBeamCT,
    ParallelBeamGeometry,
    Rays,
    TransmissionPoisson,
    Volume,
)
from scoreinv.phantoms import body

ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
SMALL = Volume((12, 24, 20), (9.0, 10.0, 11.0), (20.0, -10.0, 15.0))  # off the axis, of oblong voxels


def cone(volume: Volume, pixels: tuple[int, int], size: float) -> ConeBeamCT:
    return ConeBeamCT(ConeBeamGeometry.circular(800, 1200, pixels, (size, size), ANGLES), volume)


@cache
def scan(n: int) -> tuple[ConeBeamCT, Tensor, Tensor]:
    """Operator, attenuation and line integrals of 1e5 photons a pixel of a body in n^3 voxels."""
    voxel = 384 / n
    operator = cone(Volume((n,) * 3, (voxel,) * 3), (round(1.4 * n), round(1.6 * n)), 1.5 * voxel)
    truth = 0.02 * (1 + body(2026, (n,) * 3, (voxel,) * 3) / 1000).clamp(min=0)
    counts = TransmissionPoisson(1e5).simulate(operator.forward(truth), torch.Generator().manual_seed(0)).clamp(min=1)
    return operator, truth, torch.log(1e5 / counts)


def blob(points: Tensor, volume: Volume) -> Tensor:
    """A smooth field, 1/mm, at points in [0, 1] of the volume's box."""
    edges = torch.tensor(volume.shape) * torch.tensor(volume.voxel_size)
    place = (points - torch.tensor([0.45, 0.55, 0.5])) * edges
    return 0.02 * torch.exp(-place.square().sum(-1) / (2 * 35.0**2))


@pytest.mark.parametrize(
    "operator",
    [
        cone(SMALL, (30, 50), 12.0),
        ParallelBeamCT(ParallelBeamGeometry.circular((16, 36), (9.0, 9.0), ANGLES), SMALL),
    ],
    ids=["cone", "parallel"],
)
def test_samples_along_rays_integrate_as_the_operator_does(operator: ConeBeamCT | ParallelBeamCT) -> None:
    torch.manual_seed(0)
    lines = RaySamples(operator.geometry.rays(SMALL), SMALL)
    fine = Volume(tuple(4 * n for n in SMALL.shape), tuple(s / 4 for s in SMALL.voxel_size), SMALL.center)  # type: ignore[arg-type]
    middles = torch.stack(torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in fine.shape), indexing="ij"), -1)
    expected = type(operator)(operator.geometry, fine).forward(blob(middles, fine)).flatten()  # type: ignore[arg-type]
    sampled = torch.zeros_like(expected)
    every = torch.arange(len(lines.crossing))
    sampled[lines.crossing] = blob(lines.points(every, 64), SMALL).mean(1) * lines.lengths
    assert float((sampled - expected).norm() / expected.norm()) < 1e-2


def test_length_within_the_box_is_that_of_its_edges_and_diagonals() -> None:
    volume = Volume((2, 3, 4), (1.0, 1.0, 1.0))
    rays = Rays.between(
        [[0, 0, -9], [0, -9, 0.1], [-2, -3, -4], [5, 0, -9], [0, 0, -9]],
        [[0, 0, 9], [0, 9, 0.1], [2, 3, 4], [5, 0, 9], [0, 0, 0]],
    )
    lines = RaySamples(rays, volume)
    assert lines.crossing.tolist() == [0, 1, 2, 4]  # the fourth passes beside it
    torch.testing.assert_close(lines.lengths, torch.tensor([4, 3, 29**0.5, 2]))


def test_a_short_fit_finds_most_of_a_body() -> None:
    operator, truth, y = scan(16)
    image = naf(operator, y, iterations=150, rays=128, samples=24)
    assert psnr(image, truth) > psnr(torch.zeros_like(truth), truth) + 9
    assert float(image.min()) >= 0


def test_the_same_seed_gives_the_same_image_and_leaves_other_random_numbers_alone() -> None:
    operator, _, y = scan(16)
    state = torch.random.get_rng_state()
    first, again, other = (naf(operator, y, iterations=3, rays=64, samples=8, seed=seed) for seed in (5, 5, 6))
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other, rtol=1e-3)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.slow
def test_as_near_to_the_truth_as_sart_with_24_views() -> None:
    operator, truth, y = scan(48)
    assert psnr(naf(operator, y), truth) > psnr(sart(operator, y), truth)


def test_wrong_arguments_are_refused_in_one_line() -> None:
    operator, _, y = scan(16)
    with pytest.raises(TypeError, match=r"^naf: operator is CartesianMRI.*, expected ConeBeamCT or ParallelBeamCT$"):
        naf(CartesianMRI(torch.ones(4, 4)), torch.ones(4, 4))
    with pytest.raises(ValueError, match=r"^naf: iterations 0, .*expected at least 1 of each$"):
        naf(operator, y, iterations=0)
    with pytest.raises(ValueError, match=r"^naf: the mean of the line integrals is not above 0.*$"):
        naf(operator, -y)
    with pytest.raises(ValueError, match=r"^naf: measurements have shape .*$"):
        naf(operator, y[1:])
