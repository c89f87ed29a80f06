"""Samplers against a posterior in closed form, by linear algebra instead of Monte Carlo.

With a Gaussian prior and a deterministic stepper the whole walk is an affine map z -> x of the starting noise: pushing
zero and the unit vectors through it gives the mean and covariance of its samples exactly. With fresh noise the map is
affine in every draw, and the draws' contributions are pushed through one by one in the same way.
"""

import math
from dataclasses import dataclass

import pytest
import torch

from scoreinv.operators import Gaussian, LinearOperator
from scoreinv.priors import GaussianPrior
from scoreinv.samplers import DDIM, Problem, State, schedules, walk
from scoreinv.samplers.guidance import DDS, DPS

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
    """Noise that is a unit vector at one (step, sample) and zero elsewhere, in place of random numbers."""

    step: int | None

    def draw(self, samples, step, draw=0, shape=None, dtype=None):
        return torch.eye(N) if step == self.step else torch.zeros(N, N)


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

    def push(step, z):
        return walk(p, guidance, stepper, sigmas, Addressed(step), range(N), State(z)).z

    mean = push(None, torch.zeros(N, N))[0]
    columns = push(None, float(sigmas[0]) * torch.eye(N)) - mean
    covariance = columns.mT @ columns
    if getattr(stepper, "eta", 0) > 0:
        for step in range(1, len(sigmas)):
            columns = push(step, torch.zeros(N, N)) - mean
            covariance = covariance + columns.mT @ columns
    return mean, covariance


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
