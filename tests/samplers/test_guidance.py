"""Every guidance against dense algebra or finite differences, and all of them with every stepper and prior."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from scoreinv.operators import Gaussian, LinearOperator, TransmissionPoisson
from scoreinv.priors import VP, GaussianMixturePrior, GaussianPrior, NetworkPrior, Prior, SliceWise
from scoreinv.priors.architectures import build_network
from scoreinv.samplers import (
    DDIM,
    Ancestral,
    Diverged,
    DPMSolver2M,
    Heun,
    NoiseSource,
    PredictorCorrector,
    Problem,
    ReverseSDE,
    TVz,
    TwistedSMC,
    schedules,
    start,
    walk,
)
from scoreinv.samplers.guidance import DAPS, DDS, DPS, MBIR, MCG, POCS, DiffPIR, DPSShift, LoRA, PiGDM

N, M, SIGMA = 6, 4, 0.1
GUIDANCES = [DDS(), DPS(), DPSShift(), MCG(), DiffPIR(), PiGDM(), PiGDM("jacobian"), DAPS(), POCS(), MBIR()]
STEPPERS = [DDIM(), DDIM(0.85, "dds"), Ancestral(), ReverseSDE("vp"), PredictorCorrector(), Heun(0.2), DPMSolver2M()]


class Dense(LinearOperator):
    """A matrix."""

    def __init__(self, matrix):
        super().__init__((matrix.shape[1],), (matrix.shape[0],), matrix.dtype, matrix.dtype)
        self.matrix = matrix

    def _apply(self, x):
        return x @ self.matrix.mT

    def _adjoint(self, y):
        return y @ self.matrix.conj()


class Columns(LinearOperator):
    """Every second column, times a phase if complex."""

    def _apply(self, x):
        return self._phase(x.dtype) * x[..., ::2]

    def _adjoint(self, y):
        x = y.new_zeros(*y.shape[:-1], self.in_shape[-1])
        x[..., ::2] = self._phase(y.dtype).conj() * y
        return x

    def _phase(self, dtype):
        return torch.tensor(0.6 + 0.8j if dtype.is_complex else 1.0, dtype=dtype)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


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
        method = MCG(0.1, 0.0, 50)
        method(z, sigma, dense, history, silent)
        shift = method.correct(torch.zeros_like(z), 0.5, dense, history)

        def distance(z):
            residual = dense.measurements - dense.prior.denoise(z, sigma) @ A.mT
            return torch.linalg.vector_norm(residual @ torch.linalg.pinv(A).mT)

        torch.testing.assert_close(shift, -0.1 * gradient(distance, z), rtol=1e-3, atol=1e-6)

    def test_pocs_projects_on_the_data_by_the_shortest_way(self, dense):
        z, A = random(1, N, seed=4), dense.operator.matrix
        moved = POCS(iterations=50).correct(z, 0.5, dense, {})
        expected = z + (dense.measurements - z @ A.mT) @ torch.linalg.pinv(A).mT
        torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-3)

    def test_mbir_iterations_end_in_the_tv_solution(self, dense):
        """ADMM's fixed point has A^T(Ax - y) in the subdifferential of the penalty: slope -D^T (rho u)."""
        p = replace(dense, coupling=TVz(), prior=GaussianPrior(torch.zeros(N, dtype=torch.float64), 1.0))
        method, history, z = MBIR(rho=0.5, threshold=0.1, iterations=50), {}, random(1, N, seed=4)
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


class TestTwistedSMC:
    def test_cloud_tends_to_a_mixture_posterior_as_particles_grow(self):
        """Posterior of a two-component mixture in closed form: its mean, and the share of each mode."""
        means = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 0.3, -0.5]])
        prior = GaussianMixturePrior(torch.tensor([0.5, 0.5]), means, [0.05, 0.05])
        A, y, noise = torch.tensor([[0.5, 1.0, 0.0]]), torch.tensor([0.35]), 0.4
        p = Problem(Dense(A), y, Gaussian(noise), prior)
        spread = 0.05 * float(A @ A.mT) + noise**2
        log_evidence = -0.5 * (y - means @ A[0]) ** 2 / spread
        shares = log_evidence.softmax(0)
        gains = 0.05 * A[0] / spread
        exact = (shares[:, None] * (means + (y - means @ A[0])[:, None] * gains)).sum(0)

        def error(particles):
            source = NoiseSource(0, (3,))
            clouds = list(range(8))
            sigmas = schedules.edm(40, 10.0, 0.02)
            state = walk(p, DPS(), TwistedSMC(particles), sigmas, source, clouds, start(source, 10.0, clouds))
            weights = state.history["log_weights"].softmax(1)
            means = (weights[..., None] * state.history["cloud"]).sum(1)
            return float((means - exact).square().sum(1).mean().sqrt())

        few, many = error(32), error(2048)
        assert many < 0.06
        assert many < few / 3

    @pytest.mark.parametrize("guidance", [POCS(), MCG(), DPSShift(), DAPS(), MBIR(), DDS(tune="sure")], ids=repr)
    def test_refuses_guidance_that_weights_cannot_make_up_for(self, dense, guidance):
        source = NoiseSource(0, (N,), torch.float64)
        with pytest.raises(ValueError, match="TwistedSMC: "):
            walk(dense, guidance, TwistedSMC(8), schedules.edm(3, 5.0, 0.1), source, [0], start(source, 5.0, [0]))

    @pytest.mark.parametrize("guidance", [DPS(), PiGDM("jacobian"), DDS(), DiffPIR()], ids=repr)
    def test_a_cloud_does_not_see_its_company(self, dense, guidance):
        source, sigmas = NoiseSource(0, (N,), torch.float64), schedules.edm(8, 5.0, 0.05)

        def samples(numbers):
            return walk(dense, guidance, TwistedSMC(16), sigmas, source, numbers, start(source, 5.0, numbers)).z

        torch.testing.assert_close(samples([2, 0, 1])[1], samples([0])[0])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(
        {
            "in_channels": 2,
            "out_channels": 2,
            "layers_per_block": 1,
            "block_out_channels": [8, 8],
            "down_block_types": ["DownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "UpBlock2D"],
            "norm_num_groups": 4,
        }
    )


class TestEveryCombination:
    """Any stepper with any guidance and any prior, real and complex, 2D and 3D."""

    @pytest.mark.parametrize("guidance", GUIDANCES, ids=repr)
    @pytest.mark.parametrize("stepper", STEPPERS, ids=repr)
    @pytest.mark.parametrize("kind", ["gaussian", "mixture", "complex", "complex network", "volume"])
    def test_runs(self, network, guidance, stepper, kind):
        shape = (3, 16, 16) if kind == "volume" else (16, 16)
        dtype = torch.complex64 if "complex" in kind else torch.float32
        A = Columns(shape, (*shape[:-1], 8), dtype, dtype)
        zeros = torch.zeros(16, 16)
        prior = {
            "gaussian": lambda: GaussianPrior(zeros, 0.25),
            "mixture": lambda: GaussianMixturePrior(torch.ones(2), torch.stack([zeros, zeros + 1]), [0.1, 0.2]),
            "complex": lambda: GaussianPrior(zeros.to(torch.complex64), 0.25),
            "complex network": lambda: NetworkPrior(network, channels=2, precision="fp32"),
            "volume": lambda: SliceWise(GaussianPrior(zeros, 0.25)),
        }[kind]()
        truth = 0.5 * random(*shape, dtype=dtype)
        coupling = TVz() if kind == "volume" and guidance.couples else None
        p = Problem(A, A(truth), Gaussian(0.05), prior, coupling)
        source = NoiseSource(0, shape, dtype)
        state = walk(p, guidance, stepper, schedules.edm(3, 5.0, 0.05), source, [0, 1], start(source, 5.0, [0, 1]))
        assert state.z.shape == (2, *shape)
        assert state.z.dtype == dtype

    @pytest.mark.parametrize("guidance", GUIDANCES, ids=repr)
    def test_a_sample_does_not_see_its_company(self, guidance):
        A = Columns((16, 16), (16, 8))
        p = Problem(A, A(random(16, 16, dtype=torch.float32)), Gaussian(0.1), GaussianPrior(torch.zeros(16, 16), 0.5))
        source, sigmas = NoiseSource(0, (16, 16)), schedules.edm(4, 5.0, 0.05)

        def samples(numbers):
            return walk(p, guidance, DDIM(1.0), sigmas, source, numbers, start(source, 5.0, numbers)).z

        torch.testing.assert_close(samples([2, 0, 1])[1], samples([0])[0], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("guidance", GUIDANCES, ids=repr)
    def test_rescaling_operator_data_and_noise_changes_nothing(self, guidance):
        A = Columns((16, 16), (16, 8))
        y = A(random(16, 16, dtype=torch.float32))
        source, sigmas = NoiseSource(0, (16, 16)), schedules.edm(4, 5.0, 0.05)
        prior = GaussianPrior(torch.zeros(16, 16), 0.5)
        results = [
            walk(
                Problem(c * A, c * y, Gaussian(c * 0.1), prior),
                guidance,
                DDIM(),
                sigmas,
                source,
                [0],
                start(source, 5.0, [0]),
            ).z
            for c in (1.0, 500.0)
        ]
        torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


class TestTuning:
    """Noise levels that are guesses, found from the residual."""

    def problem(self, guess, noise=0.1, dtype=torch.float32):
        # torch's complex normal numbers have variance 1/2 per component, the noise here is per component.
        unit = 2**0.5 if dtype.is_complex else 1.0
        prior = GaussianPrior(torch.zeros(60, dtype=dtype), 0.25)
        A = random(400, 60, seed=2, dtype=dtype) / 8
        truth = unit * 0.5 * random(60, seed=3, dtype=dtype)
        y = A @ truth + unit * noise * random(400, seed=4, dtype=dtype)
        return Problem(Dense(A), y, Gaussian(guess), prior), truth

    def walked(self, p, guidance):
        source = NoiseSource(0, (60,), p.operator.in_dtype)
        return walk(p, guidance, DDIM(1.0), schedules.edm(20, 5.0, 0.01), source, [0, 1], start(source, 5.0, [0, 1]))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
    @pytest.mark.parametrize("guess", [0.01, 0.1, 1.0])
    def test_discrepancy_finds_the_noise_level(self, guess, dtype):
        p, truth = self.problem(guess, dtype=dtype)
        state = self.walked(p, DDS(30, tune="discrepancy"))
        found = guess * state.history["noise variance"].flatten().sqrt()
        assert found.tolist() == pytest.approx([0.1, 0.1], rel=0.15)
        known, _ = self.problem(0.1, dtype=dtype)
        right = self.walked(known, DDS(30)).z.mean(0)
        assert float((state.z.mean(0) - truth).norm()) < 1.15 * float((right - truth).norm())

    def test_sure_chooses_the_prior_error_that_is_right(self):
        """A prior that believes itself ten times too much is trusted less."""
        p, truth = self.problem(0.1)

        class Overconfident(GaussianPrior):
            def error(self, sigma):
                return super().error(sigma) / 4

        p = replace(p, prior=Overconfident(torch.zeros(60), 0.25))
        tuned, trusted = (self.walked(p, guidance).z.mean(0) for guidance in (DDS(30, tune="sure"), DDS(30)))
        assert float((tuned - truth).norm()) < 0.8 * float((trusted - truth).norm())

    @pytest.mark.parametrize("rule", ["sure", "discrepancy"])
    def test_both_need_gaussian_noise(self, rule):
        p, _ = self.problem(0.1)
        p = replace(p, likelihood=TransmissionPoisson(100.0), measurements=torch.full((400,), 50.0))
        with pytest.raises(ValueError, match="needs Gaussian noise"):
            self.walked(p, DDS(tune=rule))

    def test_unknown_rules_are_refused(self):
        with pytest.raises(ValueError, match="tune is 'gcv', expected None or one of"):
            DDS(tune="gcv")


class TestLoRA:
    """A network that is wrong in the same way everywhere is mended by what the data say."""

    def problem(self, samples=1):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1))

        class Biased(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = network

            def forward(self, x, time):
                return 0.3 * self.layers(x)

        prior = NetworkPrior(Biased(), parametrisation=VP((0.1, 0.5, 0.8, 0.9), "sample"), precision="fp32")
        A = Columns((6, 16, 16), (6, 16, 8))
        truth = torch.ones(6, 16, 16)
        return Problem(A, A(truth), Gaussian(0.05), SliceWise(prior)), truth

    def walked(self, p, guidance, samples):
        source = NoiseSource(0, (6, 16, 16))
        sigmas = schedules.edm(12, 5.0, 0.35)
        return walk(p, guidance, DDIM(1.0), sigmas, source, samples, start(source, 5.0, samples))

    def test_unseen_columns_come_nearer_to_the_truth(self):
        p, truth = self.problem()
        plain, adapted = (
            self.walked(p, DDS(adapt=adapt), [0]).z[0] for adapt in (None, LoRA(rank=2, steps=10, learning_rate=0.02))
        )
        error = [float((x - truth)[..., 1::2].square().mean().sqrt()) for x in (plain, adapted)]
        assert error[1] < 0.6 * error[0]

    def test_the_network_itself_stays_as_it_was(self):
        p, _ = self.problem()
        before = {k: v.clone() for k, v in p.prior.prior.network.state_dict().items()}
        self.walked(p, DDS(adapt=LoRA(steps=1)), [0])
        for name, value in p.prior.prior.network.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)

    def test_a_sample_does_not_see_its_company(self):
        p, _ = self.problem()
        guidance = DDS(adapt=LoRA(steps=2))
        together, alone = self.walked(p, guidance, [1, 0]).z[1], self.walked(p, guidance, [0]).z[0]
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)

    def test_a_prior_without_network_is_refused(self, dense):
        with pytest.raises(ValueError, match="has no network to adapt"):
            DDS(adapt=LoRA())(random(1, N), 0.5, dense, {}, silent)


class TestRefusals:
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


def test_every_guidance_is_tried():
    from scoreinv.samplers import guidance

    concrete = set(guidance.__all__) - {"Guidance", "LoRA"}
    assert {type(g).__name__ for g in GUIDANCES} == concrete
