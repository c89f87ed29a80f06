import pytest
import torch
from toys import random

from scoreinv.operators import (
    CartesianMRI,
    NonCartesianMRI,
    Stack,
    k_space_noise,
    sampling,
    simulated_coils,
    trajectories,
)

SHAPE = (64, 60)


def head():
    """A disc with a bright spot and edges, so that k-space has signal everywhere."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return ((x**2 + y**2 < 0.6).float() + 2.0 * (((x - 0.2) ** 2 + y**2) < 0.05)).to(torch.complex64)


def measured(operator, sigma):
    noise = sigma * 2**0.5 * random(*operator.out_shape, dtype=torch.complex64)
    y = operator(head())
    return y + noise * (y != 0)


CARTESIAN = CartesianMRI(sampling.poisson_disc(SHAPE, 4, 16), simulated_coils(8, SHAPE))
RADIAL = NonCartesianMRI(trajectories.radial(24, 128), SHAPE, simulated_coils(8, SHAPE))


@pytest.mark.parametrize("operator", [CARTESIAN, RADIAL], ids=["Cartesian", "radial"])
@pytest.mark.parametrize("sigma", [0.005, 0.05])
def test_noise_is_found_under_a_signal_that_is_everywhere_stronger(operator, sigma):
    assert k_space_noise(operator, measured(operator, sigma)) == pytest.approx(sigma, rel=0.15)


def test_the_unit_of_the_data_is_kept():
    y = measured(CARTESIAN, 0.05)
    assert k_space_noise(CARTESIAN, 1e4 * y) == pytest.approx(1e4 * k_space_noise(CARTESIAN, y), rel=1e-3)


def test_frames_of_a_stack_have_one_noise():
    stack = Stack([CARTESIAN, CARTESIAN])
    y = torch.stack([measured(CARTESIAN, 0.05)] * 2)
    assert k_space_noise(stack, y) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("scale", [1e-4, 300.0])
def test_one_coil_has_its_weakest_samples(scale):
    k_space = scale * random(1, *SHAPE, dtype=torch.complex64) * 2**0.5
    k_space[0, 20:44, 20:40] *= 1000.0
    assert k_space_noise(CartesianMRI(torch.ones(SHAPE)), k_space) == pytest.approx(scale, rel=0.15)


def test_without_signal_there_is_no_noise():
    assert k_space_noise(CARTESIAN, torch.zeros(CARTESIAN.out_shape, dtype=torch.complex64)) == 0


def test_measurements_of_another_scanner_are_refused():
    with pytest.raises(ValueError, match="CartesianMRI"):
        k_space_noise(CARTESIAN, random(3, *SHAPE, dtype=torch.complex64))
