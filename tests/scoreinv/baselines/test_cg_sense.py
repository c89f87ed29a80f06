"""CG-SENSE: the solution of its equations, in any units, and no worse for going on."""

import pytest
import torch
from torch import Tensor

from scoreinv.baselines import cg_sense
from scoreinv.operators import CartesianMRI
from scoreinv.operators.coils import simulated_coils


def dense(operator: CartesianMRI) -> Tensor:
    """The operator's matrix, (measurements, voxels)."""
    n = operator.in_shape[0] * operator.in_shape[1]
    units = torch.eye(n, dtype=torch.complex64).reshape(n, *operator.in_shape)
    return operator.forward(units).flatten(1).T


@pytest.mark.parametrize("regularisation", [0.0, 0.1])
def test_a_small_problem_is_solved_as_by_a_dense_matrix(regularisation: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(8, 9, generator=generator) < 0.6
    operator = CartesianMRI(mask, simulated_coils(4, (8, 9)))
    y = torch.randn(operator.out_shape, generator=generator, dtype=torch.complex64) * mask
    A = dense(operator)
    noise = torch.randn(operator.in_shape, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    weight = regularisation * operator.forward(noise).abs().square().sum() / noise.numel()
    expected = torch.linalg.solve(A.mH @ A + weight * torch.eye(72), A.mH @ y.flatten())
    image = cg_sense(operator, y, iterations=300, regularisation=regularisation)
    torch.testing.assert_close(image.flatten(), expected, rtol=0, atol=2e-3 * float(expected.abs().max()))


def test_more_iterations_hardly_cost_anything(scan):
    operator, truth, y = scan
    errors = {n: float((cg_sense(operator, y, iterations=n) - truth).norm()) for n in (5, 10, 40)}
    assert errors[10] < 1.03 * errors[5]
    assert errors[40] < 1.03 * errors[5]


def test_items_of_a_batch_converge_independently(scan):
    operator, _, y = scan
    both = cg_sense(operator, torch.stack([y, torch.zeros_like(y)]))
    torch.testing.assert_close(both[0], cg_sense(operator, y))
    assert not both[1].any()


def test_wrong_options_are_refused_in_one_line(scan):
    operator, _, y = scan
    for options in ({"iterations": 0}, {"regularisation": -1.0}, {"regularisation": float("nan")}):
        with pytest.raises(ValueError, match=r"^cg_sense: iterations .*expected iterations >= 1 and regular.*$"):
            cg_sense(operator, y, **options)
