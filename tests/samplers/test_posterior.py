"""Samplers against a posterior in closed form, by linear algebra instead of Monte Carlo.

With a Gaussian prior and a deterministic stepper the whole walk is an affine map z -> x of the starting noise: pushing
zero and the unit vectors through it gives the mean and covariance of its samples exactly. With fresh noise the map is
affine in every draw, and the draws' contributions are pushed through one by one in the same way.
"""

import math
from dataclasses import dataclass, field, replace

import pytest
import torch

from scoreinv.operators import Gaussian, LinearOperator
from scoreinv.priors import GaussianPrior
from scoreinv.samplers import DDIM, DPMSolver2M, Heun, Problem, State, schedules, walk
from scoreinv.samplers.guidance import DDS, DPS, PiGDM

N, TAU, SIGMA = 12, 0.5, 0.2


class Blur(LinearOperator):
    """A dense ill-conditioned map."""

    def __init__(self):
        super().__init__((N,), (8,))
        generator = torch.Generator().manual_seed(0)
        left, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator))
        right, _ = torch.linalg.qr(torch.randn(N, 8, generator=generator))
        self.matrix = left * torch.logspace(0, -1.5, 8) @ right.mT

    def _apply(self, x):
        return x @ self.matrix.mT

    def _adjoint(self, y):
        return y @ self.matrix


@dataclass
class Addressed:
    """Unit vectors in place of noise: block k of samples sees them at address k = (step, draw), zero elsewhere."""

    addresses: list = field(default_factory=list)
    drawn: list = field(default_factory=list)

    def draw(self, samples, step, draw=0, shape=None, dtype=None):
        self.drawn.append((step, draw))
        unit = torch.zeros(len(samples), (shape or (N,))[0])
        for k, address in enumerate(self.addresses):
            if address == (step, draw):
                unit[(k + 1) * N : (k + 2) * N] = torch.eye(N)[:, : unit.shape[1]]
        return unit


def problem():
    A = Blur()
    truth = TAU * torch.randn(N, generator=torch.Generator().manual_seed(1))
    y = A(truth) + SIGMA * torch.randn(8, generator=torch.Generator().manual_seed(2))
    return Problem(A, y, Gaussian(SIGMA), GaussianPrior(torch.zeros(N), TAU**2))


def exact(p):
    precision = torch.eye(N) / TAU**2 + p.operator.matrix.mT @ p.operator.matrix / SIGMA**2
    covariance = torch.linalg.inv(precision)
    return covariance @ p.operator.matrix.mT @ p.measurements / SIGMA**2, covariance


def moments(p, guidance, stepper, sigmas):
    """Mean and covariance of the sampler's output."""

    rest, start = p.prior.mean.expand(N, N), float(sigmas[0]) * torch.eye(N)

    def push(noise, z):
        return walk(p, guidance, stepper, sigmas, noise, range(len(z)), State(z)).z

    silent = Addressed()
    mean = push(silent, rest)[0]
    blocks = push(Addressed(silent.drawn), torch.cat([rest + start, rest.repeat(len(silent.drawn), 1)]))
    return mean, (blocks - mean).mT @ (blocks - mean)


@pytest.mark.parametrize(
    ("eta", "sigma_max", "steps", "ratio"), [(0.0, 50.0, 100, 0.94), (0.0, 50.0, 500, 0.98), (1.0, 5.0, 100, 0.94)]
)
def test_dds_recovers_the_gaussian_posterior(eta, sigma_max, steps, ratio):
    # The probability flow carries the mean of its start down to the image, so it has to start higher up.
    p = problem()
    sigmas = schedules.edm(steps, sigma_max, 0.01)
    mean, covariance = moments(p, DDS(iterations=30, tolerance=1e-7), DDIM(eta), sigmas)
    true_mean, true_covariance = exact(p)
    assert float(torch.linalg.vector_norm(mean - true_mean) / torch.linalg.vector_norm(true_mean)) <= 0.01
    ratios = (covariance.diagonal() / true_covariance.diagonal()).sqrt()
    assert float(ratios.min()) >= ratio
    assert float(ratios.max()) <= 1.01


def test_dps_is_exact_where_the_operator_is_orthonormal():
    p = problem()
    p.operator.matrix = torch.linalg.qr(p.operator.matrix.mT)[0].mT.contiguous()
    mean, covariance = moments(p, DPS(), DDIM(0.0), schedules.edm(100, 50.0, 0.01))
    true_mean, true_covariance = exact(p)
    assert float(torch.linalg.vector_norm(mean - true_mean) / torch.linalg.vector_norm(true_mean)) <= 0.01
    assert float((covariance.diagonal() / true_covariance.diagonal()).sqrt().min()) >= 0.94


def correlated(p):
    """The same problem with a prior whose covariance falls by two orders of magnitude, rotated against the operator."""
    basis, _ = torch.linalg.qr(torch.randn(N, N, generator=torch.Generator().manual_seed(3)))
    covariance = basis * torch.logspace(0, -2, N) @ basis.mT
    mean = torch.linspace(-1, 1, N)
    truth = mean + torch.linalg.cholesky(covariance) @ torch.randn(N, generator=torch.Generator().manual_seed(4))
    y = p.operator(truth) + SIGMA * torch.randn(8, generator=torch.Generator().manual_seed(2))
    return replace(p, prior=GaussianPrior(mean, covariance), measurements=y), covariance


def exact_correlated(p, covariance):
    A = p.operator.matrix
    posterior = torch.linalg.inv(torch.linalg.inv(covariance) + A.mT @ A / SIGMA**2)
    pull = torch.linalg.solve(covariance, p.prior.mean) + A.mT @ p.measurements / SIGMA**2
    return posterior @ pull, posterior


@pytest.mark.parametrize("stepper", [DDIM(1.0), Heun(), DPMSolver2M()], ids=repr)
def test_pigdm_with_the_jacobian_recovers_a_correlated_gaussian_posterior(stepper):
    p, covariance = correlated(problem())
    mean, found = moments(p, PiGDM("jacobian", 30, 1e-7), stepper, schedules.edm(100, 30.0, 0.005))
    true_mean, true_covariance = exact_correlated(p, covariance)
    assert float(torch.linalg.vector_norm(mean - true_mean) / torch.linalg.vector_norm(true_mean)) <= 0.02
    ratios = (found.diagonal() / true_covariance.diagonal()).sqrt()
    assert 0.93 <= float(ratios.min()) <= float(ratios.max()) <= 1.05


def test_the_isotropic_forms_know_less_than_the_jacobian():
    """On a correlated prior DDS and isotropic PiGDM are biased, and less so than no guidance at all."""
    p, covariance = correlated(problem())
    true_mean, _ = exact_correlated(p, covariance)
    sigmas = schedules.edm(100, 30.0, 0.005)

    def error(guidance):
        mean = moments(p, guidance, DDIM(0.0), sigmas)[0]
        return float(torch.linalg.vector_norm(mean - true_mean) / torch.linalg.vector_norm(true_mean))

    unguided = float(torch.linalg.vector_norm(p.prior.mean - true_mean) / torch.linalg.vector_norm(true_mean))
    jacobian = error(PiGDM("jacobian", 30, 1e-7))
    for guidance in (DDS(30), PiGDM("isotropic", 30), DPS()):
        assert 2 * jacobian < error(guidance) < unguided


def test_ddim_without_data_samples_the_prior():
    p = problem()
    p.operator.matrix = torch.zeros(8, N)
    _, covariance = moments(p, DDS(), DDIM(0.0), schedules.edm(200, 20.0, 0.002))
    assert covariance.diagonal().sqrt().tolist() == pytest.approx([TAU] * N, rel=0.03)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_step_keeps_the_variance_of_a_gaussian_state(eta):
    """For a Dirac prior x0 = 0 the state's standard deviation must be sigma at every level, whatever eta."""
    from scoreinv.samplers import Estimate

    variance = 3.0**2
    sigma, sigma_next = 3.0, 1.0
    state = DDIM(eta).step(
        State(torch.tensor([3.0])), lambda z, s: Estimate(0 * z, z / s), sigma, sigma_next, lambda: torch.zeros(1)
    )
    noised = DDIM(eta).step(
        State(torch.tensor([0.0])), lambda z, s: Estimate(0 * z, z / s), sigma, sigma_next, lambda: torch.ones(1)
    )
    total = float(state.z) ** 2 * variance / 9 + float(noised.z) ** 2
    assert math.sqrt(total) == pytest.approx(sigma_next)
