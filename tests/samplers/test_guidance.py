"""Every guidance against dense algebra or finite differences."""

import math
from dataclasses import replace

import pytest
import torch
from toys import Dense, random

from scoreinv.operators import Gaussian, TransmissionPoisson
from scoreinv.priors import GaussianMixturePrior, GaussianPrior, Prior
from scoreinv.samplers import (
    DDIM,
    Diverged,
    NoiseSource,
    Problem,
    TVz,
    schedules,
    start,
    walk,
)
from scoreinv.samplers.guidance import DAPS, DDS, DPS, MBIR, MCG, POCS, DiffPIR, DPSShift, PiGDM
from scoreinv.samplers.guidance.quadratic import Quadratic

N, M, SIGMA = 6, 4, 0.1


@pytest.fixture
def dense():
    prior = GaussianMixturePrior(torch.tensor([0.4, 0.6]), random(2, N, seed=1), [0.3, 0.2])
    return Problem(Dense(random(M, N, seed=2)), random(M, seed=3), Gaussian(SIGMA), prior)


def silent(shape=None, dtype=None):
    return torch.zeros(1, *(shape or (N,)), dtype=dtype or torch.float64)


def gradient(function, z, step=1e-5):
    """Central differences at z (1, N)."""
    columns = [function(z + step * e) - function(z - step * e) for e in torch.eye(N, dtype=z.dtype)[:, None]]
    return torch.stack(columns, -1).reshape(1, N) / (2 * step)


class TestAgainstAlgebra:
    def test_dds_is_the_regularised_solution(self, dense):
        z, sigma = random(1, N, seed=4), 0.7
        x0, A, y = dense.prior.denoise(z, sigma), dense.operator.matrix, dense.measurements
        r = dense.prior.error(sigma)
        precision = torch.eye(N, dtype=torch.float64) / r**2 + A.mT @ A / SIGMA**2
        expected = x0 + torch.linalg.solve(precision, ((y - x0 @ A.mT) @ A / SIGMA**2).mT).mT
        torch.testing.assert_close(DDS(50, 1e-12)(z, sigma, dense, {}, silent).x0, expected)

    def test_published_dds_counts_in_the_norm_of_the_operator(self, dense):
        z, sigma, gamma = random(1, N, seed=4), 0.7, 3.0
        x0, A, y = dense.prior.denoise(z, sigma), dense.operator.matrix, dense.measurements
        unit = A / torch.linalg.matrix_norm(A, 2)
        b = (y / torch.linalg.matrix_norm(A, 2) - x0 @ unit.mT) @ unit
        expected = x0 + torch.linalg.solve(torch.eye(N, dtype=torch.float64) + gamma * unit.mT @ unit, gamma * b.mT).mT
        estimate = DDS(50, 1e-12, gamma=gamma, keep_noise=True)(z, sigma, dense, {}, silent)
        torch.testing.assert_close(estimate.x0, expected, rtol=2e-3, atol=2e-3)  # the norm is a power iteration's
        torch.testing.assert_close(estimate.eps, (z - x0) / sigma)

    def test_diffpir_is_the_proximal_point(self, dense):
        z, sigma = random(1, N, seed=4), 0.7
        x = DiffPIR(2.0, 50, 1e-12)(z, sigma, dense, {}, silent).x0
        x0, A = dense.prior.denoise(z, sigma), dense.operator.matrix
        slope = (x @ A.mT - dense.measurements) @ A / SIGMA**2 + 2.0 * (x - x0) / sigma**2
        assert float(slope.abs().max()) < 1e-6

    def test_pigdm_follows_the_gradient_of_its_gaussian(self, dense):
        z, sigma = random(1, N, seed=4), 0.7
        A, r = dense.operator.matrix, dense.prior.error(sigma)
        covariance = SIGMA**2 * torch.eye(M, dtype=torch.float64) + r**2 * A @ A.mT

        def log_likelihood(z):
            x0 = dense.prior.denoise(z, sigma)
            residual = dense.measurements - frozen @ A.mT + (frozen - x0) @ A.mT
            return -0.5 * (residual @ torch.linalg.inv(covariance) * residual).sum()

        frozen = dense.prior.denoise(z, sigma)
        expected = frozen + sigma**2 * gradient(log_likelihood, z)
        torch.testing.assert_close(PiGDM(iterations=50, tolerance=1e-12)(z, sigma, dense, {}, silent).x0, expected)

    def test_pigdm_with_the_jacobian_is_kalmans_update(self, dense):
        z, sigma = random(1, N, seed=4), 0.7
        A = dense.operator.matrix
        J = torch.autograd.functional.jacobian(lambda z: dense.prior.denoise(z, sigma), z).reshape(N, N)
        C, x0 = sigma**2 * J, dense.prior.denoise(z, sigma)
        gain = C @ A.mT @ torch.linalg.inv(A @ C @ A.mT + SIGMA**2 * torch.eye(M, dtype=torch.float64))
        expected = x0 + (dense.measurements - x0 @ A.mT) @ gain.mT
        torch.testing.assert_close(PiGDM("jacobian", 50, 1e-12)(z, sigma, dense, {}, silent).x0, expected)

    def test_published_dps_shifts_by_the_gradient_of_the_norm(self, dense):
        z, sigma, sigma_next = random(1, N, seed=4), 0.7, 0.5
        A = dense.operator.matrix
        history = {}
        DPSShift(0.5)(z, sigma, dense, history, silent)
        shift = DPSShift(0.5).correct(torch.zeros_like(z), sigma_next, dense, history)
        norm = torch.linalg.matrix_norm(A, 2)

        def distance(z):
            return torch.linalg.vector_norm(dense.measurements - dense.prior.denoise(z, sigma) @ A.mT) / norm

        expected = -0.5 * math.sqrt((1 + sigma**2) * (1 + sigma_next**2)) * gradient(distance, z)
        torch.testing.assert_close(shift, expected, rtol=2e-3, atol=1e-6)
        assert "shift" not in history

    def test_dps_goes_to_the_minimum_along_its_gradient(self, dense):
        z, sigma = random(1, N, seed=4), 0.7
        A, x0 = dense.operator.matrix, dense.prior.denoise(z, sigma)
        step = DPS()(z, sigma, dense, {}, silent).x0 - x0

        def misfit(z):
            return 0.5 * ((dense.measurements - dense.prior.denoise(z, sigma) @ A.mT) ** 2).sum() / SIGMA**2

        direction = -gradient(misfit, z)
        torch.testing.assert_close(step / step.norm(), direction / direction.norm())

    def test_mcg_steps_along_the_gradient_of_the_backprojected_residual(self, dense):
        z, sigma = random(1, N, seed=4), 0.7
        A = dense.operator.matrix
        history = {}
        method = MCG(0.1, 0.0, 0.0, 50)
        method(z, sigma, dense, history, silent)
        shift = method.correct(torch.zeros_like(z), 0.5, dense, history)

        def distance(z):
            residual = dense.measurements - dense.prior.denoise(z, sigma) @ A.mT
            return torch.linalg.vector_norm(residual @ torch.linalg.pinv(A).mT)

        torch.testing.assert_close(shift, -0.1 * gradient(distance, z), rtol=1e-3, atol=1e-6)

    def test_mcg_relaxes_its_projection_along_the_published_levels(self, dense):
        z = random(1, N, seed=4)
        full, half = MCG(0.0), MCG(0.0, relaxation=1.0, last_relaxation=0.5)
        whole = full.correct(z, 1.0, dense, {"gradient": 0 * z}) - z
        for sigma, relaxation in ((1000.0, 1.0), (378.0, 1.0), (378.0**0.5 * 0.1, 0.75), (0.01, 0.5), (0.0, 0.5)):
            moved = half.correct(z, sigma, dense, {"gradient": 0 * z})
            torch.testing.assert_close(moved, z + relaxation * whole)

    def test_pocs_projects_on_the_data_by_the_shortest_way(self, dense):
        z, A = random(1, N, seed=4), dense.operator.matrix
        moved = POCS(iterations=50).correct(z, 0.5, dense, {})
        expected = z + (dense.measurements - z @ A.mT) @ torch.linalg.pinv(A).mT
        torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-3)

    def test_mbir_iterations_end_in_the_tv_solution(self, dense):
        """ADMM's fixed point has A^T(Ax - y) in the subdifferential of the penalty: slope -D^T (rho u)."""
        coupling = TVz(strength=0.1, rho=0.5)
        p = replace(dense, coupling=coupling, prior=GaussianPrior(torch.zeros(N, dtype=torch.float64), 1.0))
        method, history, z = MBIR(norm=1.0, iterations=50), {}, random(1, N, seed=4)
        for _ in range(1000):
            z = method.correct(z, 0.5, p, history)
        A = dense.operator.matrix
        rho = 0.5 * float(torch.linalg.matrix_norm(A, 2)) ** 2 / SIGMA**2
        D = torch.eye(N, dtype=torch.float64).diff(dim=0)
        slope = (z @ A.mT - dense.measurements) @ A / SIGMA**2
        dual = torch.linalg.lstsq(D.mT, -slope.mT).solution.mT / rho
        assert float(dual.abs().max()) <= 0.1 * 1.01
        jumps = (z @ D.mT).abs() > 1e-3
        torch.testing.assert_close(dual[jumps], 0.1 * torch.sign(z @ D.mT)[jumps], rtol=2e-2, atol=0)

    def test_daps_draws_from_its_gaussian(self):
        prior = GaussianPrior(torch.zeros(N), 0.25)
        A = random(M, N, seed=2, dtype=torch.float32)
        p = Problem(Dense(A), torch.zeros(M), Gaussian(0.5), prior)
        generator = torch.Generator().manual_seed(0)

        def noise(shape=None, dtype=None):
            return torch.randn(20000, *(shape or (N,)), generator=generator)

        x = DAPS()(torch.zeros(20000, N), 0.7, p, {}, noise).x0
        expected = torch.linalg.inv(torch.eye(N) / prior.error(0.7) ** 2 + A.mT @ A / 0.25)
        torch.testing.assert_close(x.mT.cov(), expected, rtol=0.05, atol=0.005)


def test_even_weights_go_through_the_normal_map(dense):
    """An operator with a faster A^H A is asked for it, and gives what both ways in turn would."""

    class Fast(Dense):
        asked = 0

        def _normal(self, x):
            Fast.asked += 1
            return x @ (self.matrix.mT @ self.matrix)

        def _adjoint(self, y):
            return super()._adjoint(y)

    z = random(2, N, seed=4)
    fast = replace(dense, operator=Fast(dense.operator.matrix))
    uneven = replace(dense, likelihood=Gaussian(torch.full((M,), SIGMA, dtype=torch.float64) * torch.linspace(1, 2, M)))
    torch.testing.assert_close(DDS()(z, 0.7, fast, {}, silent).x0, DDS()(z, 0.7, dense, {}, silent).x0)
    assert Fast.asked > 5
    before = Fast.asked
    DDS()(z, 0.7, replace(uneven, operator=fast.operator), {}, silent)
    assert Fast.asked == before


def test_data_of_another_precision_are_solved_as_if_they_had_been_measured_so(dense):
    """Conjugate gradients stopped half-way: the preconditioner goes with the noise level too."""
    x, factor = random(1, N, seed=4), torch.full((1, 1), 1e4, dtype=torch.float64)
    wrong, right = (Quadratic.at(x, replace(dense, likelihood=Gaussian(s), cache={})) for s in (100 * SIGMA, SIGMA))
    rescaled = wrong.scaled(factor)
    torch.testing.assert_close(rescaled.solve(rescaled.pull, 3.0, 2, 0.0).x, right.solve(right.pull, 3.0, 2, 0.0).x)


class TestRefusals:
    def test_noiseless_data_leave_no_place_for_a_coupling(self, dense):
        p, source = replace(dense, coupling=TVz()), NoiseSource(0, (N,), torch.float64)
        with pytest.raises(ValueError, match=r"DDS\(.*gamma=inf.* has no place for TVz"):
            walk(p, DDS(gamma=math.inf), DDIM(), schedules.edm(3, 5.0, 0.1), source, [0], start(source, 5.0, [0]))

    def test_the_published_step_needs_gaussian_noise(self, dense):
        p = replace(dense, likelihood=TransmissionPoisson(100.0))
        with pytest.raises(ValueError, match=r"DPSShift: .* expected Gaussian noise, or use DPS"):
            DPSShift()(random(1, N), 0.5, p, {}, silent)

    @pytest.mark.parametrize("guidance", [DPS(), MCG(), PiGDM()], ids=repr)
    def test_a_prior_without_gradient_is_named(self, dense, guidance):
        class Frozen(Prior):
            ndim, data_std, name = 1, 0.5, "frozen"

            def denoise(self, z, sigma):
                return torch.zeros_like(z).detach()

        with pytest.raises(ValueError, match=r"Frozen\('frozen', 1D\): its estimate has no gradient"):
            guidance(random(1, N), 0.5, replace(dense, prior=Frozen()), {}, silent)

    def test_nan_of_a_network_names_the_step_and_keeps_the_state_before(self, dense):
        class Broken(GaussianPrior):
            def denoise(self, z, sigma):
                return super().denoise(z, sigma) / (sigma > 1)

        p = replace(dense, prior=Broken(torch.zeros(N, dtype=torch.float64), 1.0))
        source = NoiseSource(0, (N,), torch.float64)
        with pytest.raises(Diverged, match=r"step 2 \(sigma 0.4.*\): Broken.* answers NaN or Inf") as caught:
            walk(p, DDS(), DDIM(), schedules.edm(4, 5.0, 0.1), source, [0], start(source, 5.0, [0]))
        assert caught.value.state.step == 2
        assert bool(torch.isfinite(caught.value.state.z).all())

    @pytest.mark.parametrize("ends", [(50.0, 0.1), (5.0, 0.001)])
    def test_a_schedule_beyond_the_priors_range(self, dense, ends):
        prior = GaussianPrior(torch.zeros(N, dtype=torch.float64), 1.0)
        prior.sigma_min, prior.sigma_max = 0.01, 20.0
        source = NoiseSource(0, (N,), torch.float64)
        sigmas = schedules.edm(4, *ends)
        with pytest.raises(ValueError, match=r"schedule: goes from sigma .* was trained on 0.01 to 20"):
            walk(replace(dense, prior=prior), DDS(), DDIM(), sigmas, source, [0], start(source, ends[0], [0]))
