"""Plug-and-play ADMM: with a Gaussian prior, whose denoiser is its proximal map, the maximum of the posterior."""

import torch
from toys import Columns, Dense, random

from scoreinv.operators import Gaussian
from scoreinv.priors import GaussianPrior
from scoreinv.samplers import DDIM, NoiseSource, Problem, TVz, schedules, start, walk
from scoreinv.samplers.guidance import PnPADMM

N, M, SIGMA, TAU = 6, 4, 0.1, 0.5
MEAN = random(N, seed=1)
# Slowly falling, as multipliers need iterations to settle.
LEVELS = schedules.geometric(150, 0.5, 0.2)


def problem(weights=None):
    sigma = SIGMA if weights is None else SIGMA / weights.sqrt()
    return Problem(Dense(random(M, N, seed=2)), random(M, seed=3), Gaussian(sigma), GaussianPrior(MEAN, TAU**2))


def maximum(p):
    """Of the posterior, by linear algebra."""
    A = p.operator.matrix
    w = torch.as_tensor(1 / torch.as_tensor(p.likelihood.sigma) ** 2, dtype=A.dtype).expand(M)
    precision = torch.eye(N, dtype=A.dtype) / TAU**2 + A.mT @ (w[:, None] * A)
    return MEAN + torch.linalg.solve(precision, A.mT @ (w * (p.measurements - A @ MEAN)))


def walked(p, levels=LEVELS, samples=(0,), shape=(N,)):
    noise = NoiseSource(0, shape, torch.float64)
    first = start(noise, float(levels[0]), samples)
    return walk(p, PnPADMM(50, 1e-10), DDIM(), levels, noise, samples, first)


def test_fixed_point_is_the_maximum_of_the_posterior():
    p = problem()
    torch.testing.assert_close(walked(p).z[0], maximum(p), rtol=1e-5, atol=1e-5)


def test_data_count_by_their_own_noise():
    p = problem(torch.tensor([1.0, 0.1, 4.0, 0.01], dtype=torch.float64))
    torch.testing.assert_close(walked(p).z[0], maximum(p), rtol=1e-5, atol=1e-5)


def test_the_noise_of_the_start_is_forgotten():
    one, other = walked(problem(), samples=(0, 1)).z
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_multipliers_stay_where_the_penalty_changes():
    """They are the slope of the likelihood at the maximum, whatever the level, and of the prior with the other sign."""
    p = problem()
    state = walked(p)
    expected = -p.operator.adjoint((p.operator.forward(maximum(p)) - p.measurements) / SIGMA**2)
    torch.testing.assert_close(state.history["multiplier"][0], expected, rtol=1e-3, atol=1e-3)


def test_a_coupling_smooths_across_slices():
    shape = (4, 8, 8)
    operator = Columns(shape, (4, 8, 4))
    y = operator.forward(random(*shape, dtype=torch.float32))
    prior = GaussianPrior(torch.zeros(shape), TAU**2)
    rough = []
    for coupling in (None, TVz(strength=1.0)):
        noise = NoiseSource(0, shape)
        p = Problem(operator, y, Gaussian(1.0), prior, coupling)
        z = walk(p, PnPADMM(), DDIM(), schedules.edm(10, 0.5, 0.1), noise, [0], start(noise, 0.5, [0])).z
        rough.append(float(z.diff(dim=1).abs().sum()))
    assert rough[1] < 0.7 * rough[0]
