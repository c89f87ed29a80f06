import itertools

import pytest
import torch

from scoreinv.operators import conjugate_gradients, power_iteration


def system(n, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(n, n, dtype=dtype, generator=generator)
    return root @ root.mH / n + 0.1 * torch.eye(n, dtype=dtype), torch.randn(n, dtype=dtype, generator=generator)


def apply(matrix):
    return lambda x: torch.einsum("ij,...j->...i", matrix, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_solution_of_a_hermitian_system(dtype):
    M, b = system(12, dtype)
    result = conjugate_gradients(apply(M), b, 1, 200, 1e-10)
    torch.testing.assert_close(result.x, torch.linalg.solve(M, b), rtol=1e-8, atol=1e-8)
    assert float(result.residual) <= 1e-10


def test_complex_residual_falls_monotonically_in_energy():
    # With an unconjugated inner product it does not.
    M, b = system(32, torch.complex128)
    exact = torch.linalg.solve(M, b)
    errors = []
    for k in range(1, 12):
        e = conjugate_gradients(apply(M), b, 1, k, 0.0).x - exact
        errors.append(float(torch.vdot(e, M @ e).real))
    assert all(after < before for before, after in itertools.pairwise(errors))


def test_items_of_a_batch_converge_independently():
    M, b = system(16, torch.float64)
    batch = torch.stack([b, 1e6 * b.flip(0), torch.zeros_like(b)])
    together = conjugate_gradients(apply(M), batch, 1, 100, 1e-8)
    for k, item in enumerate(batch):
        alone = conjugate_gradients(apply(M), item, 1, 100, 1e-8)
        torch.testing.assert_close(together.x[k], alone.x, rtol=1e-6, atol=1e-9)
    assert together.residual.shape == (3,)
    assert float(together.residual[2]) == 0


def test_good_preconditioner_saves_iterations():
    scales = torch.logspace(0, 4, 40, dtype=torch.float64)
    b = torch.ones(40, dtype=torch.float64)
    plain = conjugate_gradients(lambda x: scales * x, b, 1, 500, 1e-8)
    helped = conjugate_gradients(lambda x: scales * x, b, 1, 500, 1e-8, lambda r: r / scales)
    assert helped.iterations == 1 < plain.iterations
    torch.testing.assert_close(helped.x, b / scales)


def test_iterations_are_reported_and_bounded():
    M, b = system(30, torch.float64)
    result = conjugate_gradients(apply(M), b, 1, 3, 0.0)
    assert result.iterations == 3
    residual = torch.linalg.vector_norm(b - M @ result.x) / torch.linalg.vector_norm(b)
    assert float(result.residual) == pytest.approx(float(residual), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_power_iteration_finds_the_largest_eigenvalue(dtype):
    M, _ = system(20, dtype)
    largest = float(torch.linalg.eigvalsh(M)[-1])
    assert power_iteration(apply(M), (20,), dtype, iterations=200, tolerance=1e-6) == pytest.approx(largest, rel=1e-3)
