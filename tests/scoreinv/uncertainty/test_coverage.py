"""Coverage of samples whose posterior is known."""

import pytest
import torch
from toys import Dense, random

from scoreinv import solve
from scoreinv.operators import Gaussian
from scoreinv.priors import GaussianPrior
from scoreinv.samplers import DDIM, schedules
from scoreinv.samplers.guidance import DDS, DPS
from scoreinv.uncertainty import LEVELS, calibration_error, coverage, factor, observe, patient, sharpness
from scoreinv.uncertainty.tarp import expected_coverage, p_value

N, MEASURED, TAU, SIGMA, SAMPLES = 100, 60, 0.5, 0.2, 8
EVERYWHERE = torch.ones(N, dtype=torch.bool)


def held_out(guidance, matrix, cases=40):
    """Cases drawn from the prior, each with samples of its posterior."""
    prior = GaussianPrior(torch.zeros(N), TAU**2)
    truths = TAU * random(cases, N, seed=1, dtype=torch.float32)
    data = truths @ matrix.mT + SIGMA * random(cases, MEASURED, seed=2, dtype=torch.float32)
    parts = {
        "likelihood": Gaussian(SIGMA),
        "guidance": guidance,
        "stepper": DDIM(0.0),
        "schedule": schedules.edm(100, 50.0, 0.01),
        "samples": SAMPLES,
        "progress": False,
    }
    found = []
    for k, (truth, y) in enumerate(zip(truths, data, strict=True)):
        samples = solve(Dense(matrix), y, prior, seed=k, **parts).samples
        found.append(observe(samples, truth, truths[k - 1], EVERYWHERE))
    return found


def ill_conditioned():
    left, _ = torch.linalg.qr(random(MEASURED, MEASURED, dtype=torch.float32))
    right, _ = torch.linalg.qr(random(N, MEASURED, seed=1, dtype=torch.float32))
    return left * torch.logspace(0, -1.5, MEASURED) @ right.mT


def orthonormal():
    return torch.linalg.qr(random(N, MEASURED, dtype=torch.float32))[0].mT.contiguous()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guidance", "matrix"), [(DDS(iterations=30, tolerance=1e-6), ill_conditioned), (DPS(), orthonormal)], ids=repr
)
def test_exact_methods_cover_held_out_cases_without_calibration(guidance, matrix):
    cases = held_out(guidance, matrix())
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    covered = coverage(cases, [factor(level, SAMPLES) for level in levels]).mean(0)
    assert 0.88 <= covered[-1] <= 0.92
    assert calibration_error(levels, covered) < 0.02
    assert p_value([case.closer for case in cases], SAMPLES) > 0.01


def drawn(width, cases=60, samples=20):
    """Truths N(0, 1) voxel by voxel, and samples that are too wide or too narrow."""
    draws = random(cases, samples + 1, 50)
    region = torch.ones(50, dtype=torch.bool)
    return [observe(width * each[1:], each[0], draws[k - 1, 0], region) for k, each in enumerate(draws)]


def test_narrow_samples_cover_too_little_and_wide_ones_too_much():
    nine_tenths = factor(0.9, 20)
    narrow, right, wide = (coverage(drawn(width), [nine_tenths]).mean() for width in (0.5, 1.0, 2.0))
    assert narrow < 0.7 < 0.88 <= right <= 0.92 < 0.98 < wide


def test_sharpness_is_the_width_of_the_intervals():
    assert sharpness(drawn(2.0), 1.5) == pytest.approx(2 * sharpness(drawn(1.0), 1.5))
    assert sharpness(drawn(1.0, samples=200), 1.5) == pytest.approx(3.0, rel=0.02)


def test_tarp_accepts_the_posterior_and_refutes_samples_of_another_width():
    right, narrow = ([case.closer for case in drawn(width, 200)] for width in (1.0, 0.5))
    assert p_value(right, 20) > 0.05
    assert p_value(narrow, 20) < 1e-6
    assert expected_coverage(right, [0.25, 0.5, 0.75], 20) == pytest.approx([0.25, 0.5, 0.75], abs=0.1)


@pytest.mark.parametrize("samples", [2, 8, 100])
def test_tarp_covers_as_claimed_if_every_rank_comes_as_often_however_few_the_samples(samples):
    shares = [rank / samples for rank in range(samples + 1)]
    assert expected_coverage(shares, LEVELS, samples) == pytest.approx(LEVELS)


def test_a_region_without_voxels_is_refused():
    with pytest.raises(ValueError, match="no voxel counts"):
        observe(random(3, 4), random(4), random(4), torch.zeros(4, dtype=torch.bool))


def test_patient_is_told_from_air():
    image = torch.zeros(20, 20)
    image[5:15, 5:15] = 0.02
    assert torch.equal(patient(image), image > 0)
