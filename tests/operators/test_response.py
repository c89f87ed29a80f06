import pytest
import torch
from toys import random

from scoreinv.operators import CartesianMRI, NonCartesianMRI, simulated_coils
from scoreinv.operators._response import mean_response
from scoreinv.operators.solvers import conjugate_gradients

SHAPE = (7, 8)
MAPS = random(3, *SHAPE, dtype=torch.complex64)
OPERATORS = {
    "Cartesian": CartesianMRI(random(*SHAPE, dtype=torch.float32) > 0, MAPS),
    "radial": NonCartesianMRI(torch.pi * torch.tanh(random(5, 9, 2, dtype=torch.float32)), SHAPE, MAPS),
    "3D": CartesianMRI(random(3, 4, 5, dtype=torch.float32) > 0, random(2, 3, 4, 5, dtype=torch.complex64)),
    "one coil": NonCartesianMRI(torch.pi * torch.tanh(random(5, 9, 2, dtype=torch.float32)), SHAPE),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]


def waves(shape):
    """Every wave of the discrete Fourier transform, of norm 1, (voxels, *shape)."""
    units = torch.eye(torch.Size(shape).numel(), dtype=torch.complex64).reshape(-1, *shape)
    return torch.fft.ifftn(units, dim=tuple(range(1, units.ndim)), norm="ortho")


def test_response_is_the_energy_that_each_wave_is_measured_with(operator):
    maps = torch.ones((1, *operator.in_shape), dtype=torch.complex64)
    maps = maps if operator.coil_maps is None else operator.coil_maps
    expected = operator(waves(operator.in_shape)).abs().square().flatten(1).sum(1).reshape(operator.in_shape)
    torch.testing.assert_close(mean_response(operator._point_spread(), maps), expected, rtol=1e-4, atol=1e-4)


def test_inverse_near_is_hermitian_and_positive(operator):
    inverse = operator.inverse_near(torch.tensor(30.0), torch.tensor(0.1))
    units = torch.eye(torch.Size(operator.in_shape).numel(), dtype=torch.complex64).reshape(-1, *operator.in_shape)
    matrix = inverse(units).flatten(1).T
    torch.testing.assert_close(matrix, matrix.mH, rtol=1e-4, atol=1e-4)
    assert float(torch.linalg.eigvalsh(matrix).min()) > 0


def test_inverse_near_is_exact_for_complete_data_of_one_coil():
    operator = CartesianMRI(torch.ones(SHAPE))
    x = random(2, *SHAPE, dtype=torch.complex64)
    strength, damping = torch.tensor([3.0, 5.0]).reshape(2, 1, 1), torch.tensor(0.5)
    b = strength * operator.normal(x) + damping * x
    torch.testing.assert_close(operator.inverse_near(strength, damping)(b), x)


def test_radial_data_need_fewer_iterations():
    shape = (48, 48)
    angles = torch.arange(16)[:, None] * 1.94
    radius = torch.linspace(-torch.pi, torch.pi, 96)
    spokes = torch.stack([radius * angles.sin(), radius * angles.cos()], -1)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 48)] * 2, indexing="ij")
    operator = NonCartesianMRI(spokes, shape, simulated_coils(8, shape) * (x**2 + y**2 < 0.7))
    strength, damping = torch.tensor(1e4), torch.tensor(100.0)
    b = strength * operator.adjoint(operator(random(*shape, dtype=torch.complex64)))

    def iterations(inverse):
        return conjugate_gradients(
            lambda v: strength * operator.normal(v) + damping * v, b, 2, 200, 1e-2, inverse
        ).iterations

    assert iterations(operator.inverse_near(strength, damping)) < 0.7 * iterations(lambda v: v)
