"""Steppers against closed forms, against each other and against independent implementations of the same papers."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from toys import unet

from scoreinv.priors import VE, VP, GaussianMixturePrior, GaussianPrior, NetworkPrior
from scoreinv.priors.vp import discrete_levels, linear_betas
from scoreinv.samplers import (
    DDIM,
    Ancestral,
    DPMSolver2M,
    Estimate,
    Heun,
    PredictorCorrector,
    ReverseSDE,
    State,
    schedules,
)

BETAS = tuple(linear_betas().tolist())
TAU = 0.5


def unguided(prior):
    """A `denoise` of the prior alone."""

    def denoise(z, sigma):
        x0 = prior.denoise(z, sigma)
        return Estimate(x0, (z - x0) / sigma, x0, torch.zeros(z.shape[:2]))

    denoise.correct = lambda z, sigma: z
    denoise.sigma_max = prior.sigma_max
    return denoise


def walked(stepper, denoise, sigmas, z, noise=None):
    """The trajectory of states, from the first to the last level."""
    levels, state, seen = [float(s) for s in sigmas], State(z), [z]
    for k in range(len(levels) - 1):
        state = stepper.step(State(state.z, k, state.history), denoise, levels[k], levels[k + 1], noise)
        seen.append(state.z)
    return seen


@pytest.fixture(scope="module")
def network():
    return unet()


class TestAgainstDiffusers:
    """Whole trajectories of one network on the same noise, compared in the variable x = z / sqrt(1 + sigma^2)."""

    @pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
    @pytest.mark.parametrize(("stepper", "eta"), [(DDIM(0.0), 0.0), (DDIM(0.6), 0.6), (Ancestral(), None)])
    def test_trajectory(self, network, stepper, eta, prediction):
        from diffusers import DDIMScheduler, DDPMScheduler

        settings = {"beta_start": 1e-4, "beta_end": 0.02, "clip_sample": False, "prediction_type": prediction}
        scheduler = DDPMScheduler(**settings) if eta is None else DDIMScheduler(**settings)
        scheduler.set_timesteps(20)
        levels = discrete_levels(linear_betas())
        sigmas = torch.cat([levels.sigma(scheduler.timesteps.double()), torch.zeros(1, dtype=torch.float64)])
        x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        theirs, ours = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
        prior = NetworkPrior(network, parametrisation=VP(BETAS, prediction), precision="fp32")
        z = x[:, 0] * math.sqrt(1 + float(sigmas[0]) ** 2)
        trajectory = walked(
            stepper, unguided(prior), sigmas, z, lambda: torch.randn(2, 1, 16, 16, generator=ours)[:, 0]
        )
        extra = {} if eta is None else {"eta": eta}
        with torch.no_grad():
            for t, sigma, z in zip(scheduler.timesteps, sigmas[1:], trajectory[1:], strict=True):
                x = scheduler.step(network(x, t).sample, t, x, generator=theirs, **extra).prev_sample
                expected = z / math.sqrt(1 + float(sigma) ** 2)
                torch.testing.assert_close(x[:, 0], expected.float(), rtol=1e-4, atol=1e-4)


def test_heun_is_edms_algorithm_2():
    prior = GaussianMixturePrior(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0, 0.5], [1.0, 0.0]]), [0.04, 0.09])
    sigmas = schedules.edm(12, 10.0, 0.02)
    z = 10 * torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    churn, low, high, factor = 0.3, 0.05, 5.0, 1.007
    ours = torch.Generator().manual_seed(1)
    result = walked(
        Heun(churn, (low, high), factor), unguided(prior), sigmas, z, lambda: torch.randn(5, 2, generator=ours)
    )[-1]

    theirs = torch.Generator().manual_seed(1)
    x = z.double()
    for t, t_next in itertools.pairwise(sigmas):
        gamma = churn if low <= t <= high else 0.0
        t_hat = t + gamma * t
        if gamma:
            x = x + (t_hat**2 - t**2).sqrt() * factor * torch.randn(5, 2, generator=theirs)
        d = (x - prior.denoise(x.float(), float(t_hat))) / t_hat
        x_next = x + (t_next - t_hat) * d
        if t_next > 0:
            d_next = (x_next - prior.denoise(x_next.float(), float(t_next))) / t_next
            x_next = x + (t_next - t_hat) * (d + d_next) / 2
        x = x_next
    torch.testing.assert_close(result, x.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stepper", "order"), [(DDIM(0.0), 1), (Heun(), 2), (DPMSolver2M(), 2)], ids=lambda v: type(v).__name__
)
def test_order_of_convergence(stepper, order):
    """On a Gaussian prior the probability flow scales the state by the ratio of its standard deviations."""
    prior = GaussianPrior(torch.zeros(1, dtype=torch.float64), TAU**2)
    z = torch.ones(1, 1, dtype=torch.float64)
    exact = math.sqrt((TAU**2 + 0.1**2) / (TAU**2 + 5.0**2))
    errors = []
    for steps in (40, 80, 160):
        levels = np.geomspace(5.0, 0.1, steps + 1)
        errors.append(abs(float(walked(stepper, unguided(prior), levels, z)[-1]) - exact))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(rates - order) < 0.25)


@pytest.mark.parametrize(
    "stepper",
    [DDIM(1.0), Ancestral(), ReverseSDE("ve"), ReverseSDE("vp"), Heun(0.2), PredictorCorrector(0.1)],
    ids=repr,
)
def test_stochastic_steppers_sample_the_prior(stepper):
    generator = torch.Generator().manual_seed(0)
    prior = GaussianPrior(torch.full((64,), 0.2), TAU**2)
    z = 0.2 + math.hypot(20.0, TAU) * torch.randn(400, 64, generator=generator)
    x = walked(
        stepper, unguided(prior), schedules.edm(200, 20.0, 0.005), z, lambda: torch.randn(400, 64, generator=generator)
    )[-1]
    assert float(x.mean()) == pytest.approx(0.2, abs=0.02)
    assert float(x.std()) == pytest.approx(TAU, rel=0.04)


def test_ancestral_is_ddim_with_all_the_noise():
    prior = GaussianPrior(torch.zeros(3), 1.0)
    z = 5 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    results = []
    for stepper in (Ancestral(), DDIM(1.0)):
        generator = torch.Generator().manual_seed(1)
        sigmas = schedules.edm(10, 5.0, 0.01)
        results.append(walked(stepper, unguided(prior), sigmas, z, lambda g=generator: torch.randn(4, 3, generator=g)))
    torch.testing.assert_close(results[0][-1], results[1][-1], rtol=1e-4, atol=1e-5)


def test_one_model_in_its_vp_and_ve_forms_gives_one_sample(network):
    """The same network, asked as a VP noise predictor and as the VE score that follows from it."""

    class Score(nn.Module):
        def __init__(self):
            super().__init__()
            self.vp, self.levels = network, discrete_levels(linear_betas())

        def forward(self, z, sigma):
            a = 1 / (1 + sigma**2).sqrt().reshape(-1, 1, 1, 1)
            t = torch.tensor([self.levels.time(float(s)) for s in sigma], dtype=torch.float32)
            return -network(a * z, t).sample / sigma.reshape(-1, 1, 1, 1)

    forms = [
        NetworkPrior(network, parametrisation=VP(BETAS), precision="fp32"),
        NetworkPrior(Score(), parametrisation=VE(0.01, 150.0), precision="fp32"),
    ]
    z = 20 * torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        samples = [walked(Heun(), unguided(p), schedules.edm(8, 20.0, 0.02), z)[-1] for p in forms]
    torch.testing.assert_close(samples[0], samples[1], rtol=1e-4, atol=1e-4)


def test_churn_stays_within_what_the_prior_knows():
    prior, asked = GaussianPrior(torch.zeros(2), 1.0), []
    prior.sigma_max = 5.5
    denoise = unguided(prior)

    def listening(z, sigma):
        asked.append(sigma)
        return denoise(z, sigma)

    listening.sigma_max = denoise.sigma_max
    walked(Heun(0.4), listening, [5.0, 1.0, 0.0], torch.ones(1, 2), lambda: torch.ones(1, 2))
    assert asked == pytest.approx([5.5, 1.0, 1.4])
