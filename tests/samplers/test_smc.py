"""Twisted sequential Monte Carlo against a posterior in closed form."""

import pytest
import torch
from toys import Dense, random

from scoreinv.operators import Gaussian
from scoreinv.priors import GaussianMixturePrior
from scoreinv.samplers import (
    NoiseSource,
    Problem,
    State,
    TwistedSMC,
    schedules,
    start,
    walk,
)
from scoreinv.samplers.guidance import DAPS, DDS, DPS, MBIR, MCG, POCS, DiffPIR, DPSShift, PiGDM

N, M, SIGMA = 6, 4, 0.1


@pytest.fixture
def dense():
    prior = GaussianMixturePrior(torch.tensor([0.4, 0.6]), random(2, N, seed=1), [0.3, 0.2])
    return Problem(Dense(random(M, N, seed=2)), random(M, seed=3), Gaussian(SIGMA), prior)


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

    def test_refuses_an_image(self):
        with pytest.raises(ValueError, match="the image has 64 numbers, expected at most 16"):
            TwistedSMC().step(State(torch.zeros(1, 8, 8)), None, 5.0, 1.0, None)

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
