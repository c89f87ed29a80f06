from dataclasses import replace

import pytest
import torch
from toys import Dense, Rows

from scoreinv import solve
from scoreinv.operators import PET, Gaussian, ListModePET, PETScanner, Poisson, Sinogram, Volume
from scoreinv.operators.em import em_subsets
from scoreinv.priors import GaussianPrior, IntensityMap
from scoreinv.samplers import Problem, RDPz, TVz
from scoreinv.samplers.guidance import MAPEM


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    A = Rows(torch.rand(24, 6, generator=generator))
    truth = torch.tensor([0.0, 5.0, 20.0, 1.0, 40.0, 10.0])
    likelihood = Poisson(torch.full((24,), 0.5))
    y = likelihood.simulate(A(truth), generator)
    prior = GaussianPrior(torch.full((6,), 1.0), 0.25).scaled(IntensityMap(10.0))
    return Problem(A, y, likelihood, prior)


def guided(problem, guidance, z, sigma=0.3, history=None):
    return guidance(z, sigma, problem, {} if history is None else history, None)


def image_and_slope(problem, estimate, sigma, slack=1.0):
    """The image found, and the gradient of the penalised negative log-likelihood there."""
    prior, A = problem.prior, problem.operator
    x, anchor = (prior.intensity.to_image(v) for v in (estimate.x0, estimate.prior))
    g, _ = problem.likelihood.quadratic(A.forward(x), problem.measurements)
    beta = 1 / (prior.intensity.scale * slack * prior.error(sigma)) ** 2
    return x, A.adjoint(g) + beta * (x - anchor.clamp(min=0))


@pytest.mark.parametrize("slack", [1.0, 3.0])
def test_many_iterations_end_at_the_penalised_maximum(problem, slack):
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    estimate = guided(problem, MAPEM(iterations=1000, subsets=1, slack=slack), z)
    x, slope = image_and_slope(problem, estimate, 0.3, slack)
    assert bool((x >= 0).all())
    assert float((x * slope).abs().max()) < 2e-2
    assert float(slope.min()) > -2e-3


def test_every_iteration_raises_the_penalised_likelihood(problem):
    z = torch.randn(1, 6, generator=torch.Generator().manual_seed(1))
    values = []
    for n in (1, 2, 4, 8, 16, 64):
        estimate = guided(problem, MAPEM(iterations=n, subsets=1), z)
        prior, A = problem.prior, problem.operator
        x, anchor = (prior.intensity.to_image(v) for v in (estimate.x0, estimate.prior))
        beta = 1 / (prior.intensity.scale * prior.error(0.3)) ** 2
        misfit = problem.likelihood.negative_log(A.forward(x), problem.measurements, 1)
        values.append(float(misfit + beta * (x - anchor.clamp(min=0)).square().sum() / 2))
    assert values == sorted(values, reverse=True)


def test_subsets_hold_all_data_and_go_on_where_they_stopped(problem):
    parts = em_subsets(problem.operator, problem.measurements, problem.likelihood, 4)
    whole = em_subsets(problem.operator, problem.measurements, problem.likelihood, 1)[0]
    torch.testing.assert_close(sum(part.sensitivity for part in parts), whole.sensitivity)
    history = {}
    for expected in (3, 2, 1, 0):
        guided(problem, MAPEM(iterations=3, subsets=4), torch.ones(1, 6), history=history)
        assert history["subset"] == expected


def test_subsets_come_near_the_same_image(problem):
    z = torch.randn(1, 6, generator=torch.Generator().manual_seed(1))
    one, many = (guided(problem, MAPEM(iterations=400, subsets=n), z).x0 for n in (1, 4))
    torch.testing.assert_close(one, many, rtol=0.25, atol=0.1)


def test_misfit_of_events_counts_the_lines_without_any():
    scanner, volume = PETScanner.demo(2), Volume((3, 8, 8), (5, 20, 20))
    binned = PET(scanner, volume, normalisation=torch.tensor([0.003]), sinogram=Sinogram(61, 1))
    images = torch.rand(2, *volume.shape, generator=torch.Generator().manual_seed(0))
    counts = Poisson(0.1).simulate(binned(images[0]), torch.Generator().manual_seed(0))
    bins = torch.nonzero(counts)
    events = bins.repeat_interleave(counts[tuple(bins.unbind(1))].long(), dim=0)
    prior = GaussianPrior(torch.ones(volume.shape), 0.25)
    found = []
    for A, y in ((binned, counts), (ListModePET(binned, events), torch.ones(len(events)))):
        guidance = MAPEM(iterations=1, subsets=1)
        found.append(guided(Problem(A, y, Poisson(0.1), prior), guidance, images).misfit.double())
    # What differs does not depend on the image: the background of all lines, less that of the events.
    constant = 0.1 * (counts.numel() - len(events))
    torch.testing.assert_close(found[0] - constant, found[1], rtol=1e-5, atol=0)


def test_solve_finds_scale_and_counts_by_itself(problem):
    prior = GaussianPrior(torch.full((6,), 0.4), 0.3).scaled(IntensityMap(percentile=100.0))
    result = solve(problem.operator, problem.measurements, prior, method="map-em", steps=10, samples=4, progress=False)
    assert result.config["likelihood"]["type"] == "Poisson"
    assert 15 < result.config["intensity"]["scale"] < 80
    assert float(result.samples.min()) >= 0
    predicted = problem.operator(result.mean)
    assert float((predicted - problem.measurements).norm() / problem.measurements.norm()) < 0.2


def test_counts_of_another_kind_are_refused(problem):
    with pytest.raises(ValueError, match=r"MAPEM: likelihood is Gaussian.* expected Poisson"):
        solve(problem.operator, problem.measurements, problem.prior, likelihood=Gaussian(1.0), method="map-em", steps=2)


def test_smooth_coupling_ends_at_the_maximum_with_both_penalties(problem):
    coupling = RDPz(strength=2.0)
    estimate = guided(replace(problem, coupling=coupling), MAPEM(iterations=1000, subsets=1), torch.ones(1, 6))
    x, slope = image_and_slope(problem, estimate, 0.3)
    scale, r = problem.prior.intensity.scale, problem.prior.error(0.3)
    slope = slope + coupling.strength / (scale * r) * coupling.quadratic(x / scale, 1)[0]
    assert float((x * slope).abs().max()) < 2e-2
    assert float(slope.min()) > -2e-3
    # It is not what the likelihood and the anchor alone lead to.
    assert float(image_and_slope(problem, estimate, 0.3)[1].abs().max()) > 0.05


def test_linear_coupling_evens_out_the_anchor_and_not_what_counts_say(problem):
    coupling = TVz(0.5)
    z = torch.randn(1, 6, generator=torch.Generator().manual_seed(1))
    estimate = guided(replace(problem, coupling=coupling), MAPEM(iterations=1000, subsets=1), z)
    even = coupling.prox(estimate.prior, 0.5 * problem.prior.error(0.3), 1)
    assert float((even - estimate.prior).abs().max()) > 0.01
    x, slope = image_and_slope(problem, replace(estimate, prior=even), 0.3)
    assert float((x * slope).abs().max()) < 2e-2
    assert float(slope.min()) > -2e-3


def test_data_steps_without_a_place_for_a_coupling_say_so(problem):
    with pytest.raises(ValueError, match=r"DDS.*no place for RDPz.*None or LinearCoupling"):
        solve(problem.operator, problem.measurements, problem.prior, method="dds", coupling=RDPz(), steps=2)


def test_default_subsets_are_those_of_osem_and_one_without_views(problem):
    history = {}
    guided(problem, MAPEM(iterations=1), torch.ones(1, 6), history=history)
    assert history["subset"] == 1
    assert len(problem.cache["EM subsets, None"]) == 24 // 4
    whole = Dense(problem.operator.matrix)
    guided(replace(problem, operator=whole, cache={}), MAPEM(iterations=1), torch.ones(1, 6), history=history)
    assert history["subset"] == 0
