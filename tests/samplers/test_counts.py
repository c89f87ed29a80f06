"""Every kind of data step on Poisson counts, few or many."""

import pytest
import torch
from toys import Rows

from scoreinv import solve
from scoreinv.operators import Poisson
from scoreinv.priors import GaussianPrior, IntensityMap, NonNegative
from scoreinv.samplers import DDIM, METHODS, NoiseSource, Problem, schedules, start, walk
from scoreinv.samplers.guidance import MAPEM

METHODS_OF_COUNTS = ("dds", "dds-mean", "dps", "map-em", "pigdm", "diffpir")
ACTIVITY = torch.tensor([0.0, 0.5, 2.0, 0.1, 4.0, 1.0])


def scan(level, background=0.0, seed=0):
    """A scan of ACTIVITY with this factor on its expected counts, some of whose lines miss the image."""
    generator = torch.Generator().manual_seed(seed)
    matrix = level * torch.rand(40, 6, generator=generator) * (torch.rand(40, 6, generator=generator) < 0.4)
    likelihood = Poisson(background)
    return Rows(matrix), likelihood.simulate(matrix @ ACTIVITY + background, generator), likelihood


def prior(mean=1.0):
    return GaussianPrior(torch.full((6,), mean), 0.5**2).scaled(IntensityMap(2.0))


@pytest.mark.parametrize("method", METHODS_OF_COUNTS)
@pytest.mark.parametrize(("level", "background"), [(0.1, 0.0), (2.0, 0.0), (50.0, 0.0), (2.0, 0.5)])
def test_few_counts_or_many_give_finite_images_of_activity(method, level, background):
    A, y, likelihood = scan(level, background)
    result = solve(A, y, prior(), likelihood=likelihood, method=method, steps=12, samples=3, progress=False)
    assert bool(torch.isfinite(result.samples).all())
    assert float(result.samples.min()) > -0.05 * float(ACTIVITY.max())
    assert all(torch.isfinite(torch.tensor(step.misfit)).all() for step in result.diagnostics)


@pytest.mark.parametrize("method", METHODS_OF_COUNTS)
def test_many_counts_lead_to_the_truth(method):
    A, y, likelihood = scan(2000.0, 10.0)
    result = solve(A, y, prior(), likelihood=likelihood, method=method, steps=40, samples=2, progress=False)
    assert float((result.mean - ACTIVITY).norm() / ACTIVITY.norm()) < 0.05


def test_empty_scan_leaves_little():
    A, y, _ = scan(50.0)
    for method in ("dds", "map-em"):
        result = solve(A, torch.zeros_like(y), prior(), likelihood=Poisson(), method=method, steps=20, progress=False)
        assert float(result.mean.max()) < 0.1


@pytest.mark.parametrize("method", METHODS_OF_COUNTS)
def test_guidance_starts_from_an_estimate_of_activity_and_leaves_the_state_alone(method):
    A, y, likelihood = scan(2.0)
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    kept = z.clone()
    problem = Problem(A, y, likelihood, NonNegative(prior(0.0)))
    estimate = METHODS[method].guidance(z, 0.5, problem, {}, None)
    assert float(prior(0.0).denoise(z, 0.5).min()) < 0
    assert float(estimate.prior.min()) == 0
    assert torch.equal(z, kept)


def posterior(A, y, background, prior):
    """Mean and standard deviation of Laplace's approximation, by Newton in double precision."""
    matrix, counts, scale = A.matrix.double(), y.double(), prior.intensity.scale
    mean, precision = prior.mean.double() * scale, 1 / (prior.data_std * scale) ** 2
    x = mean.clone()
    for _ in range(100):
        expected = matrix @ x + background
        slope = matrix.T @ (1 - counts / expected) + precision * (x - mean)
        hessian = matrix.T @ torch.diag(counts / expected**2) @ matrix + precision * torch.eye(6)
        x = x - torch.linalg.solve(hessian, slope)
    return x.float(), torch.linalg.inv(hessian).diagonal().sqrt().float()


def test_map_em_samples_the_posterior_of_many_counts():
    # Of many counts and a Gaussian prior the posterior is Gaussian, and MAP-EM's maximum its mean at each level.
    A, _, likelihood = scan(30.0, 20.0)
    y = likelihood.simulate(A(ACTIVITY + 2), torch.Generator().manual_seed(1))
    known = prior(1.5)
    members, noise, sigmas = list(range(400)), NoiseSource(0, (6,)), schedules.edm(60, 5.0, 0.01)
    problem = Problem(A, y, likelihood, known)
    z = walk(problem, MAPEM(20, 1), DDIM(eta=1.0), sigmas, noise, members, start(noise, 5.0, members)).z
    samples = known.intensity.to_image(z)
    mean, std = posterior(A, y, 20.0, known)
    assert float((samples.mean(0) - mean).norm() / mean.norm()) < 0.01
    torch.testing.assert_close(samples.std(0), std, rtol=0.15, atol=0)
