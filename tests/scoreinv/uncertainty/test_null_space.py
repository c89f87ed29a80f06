"""Measured and unmeasured parts."""

import pytest
import torch
from toys import Dense, random

from scoreinv.operators import Gaussian, Poisson, TransmissionPoisson
from scoreinv.uncertainty import hallucination, split, worth


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_split_is_the_projection_onto_the_row_space_of_good_data(dtype):
    A, d = Dense(random(5, 9, dtype=dtype)), random(3, 9, seed=1, dtype=dtype)
    weight = torch.tensor([1.0, 2.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    parts = split(A, weight, d, tolerance=1e-12)
    rows = weight.sqrt()[:, None] * A.matrix
    projection = torch.linalg.pinv(rows) @ rows
    assert torch.allclose(parts.measured, d @ projection.mT, atol=1e-8)
    assert torch.allclose(parts.measured + parts.unmeasured, d)
    assert torch.allclose(A(parts.unmeasured)[:, weight > 0], torch.zeros(3, 4, dtype=dtype), atol=1e-8)
    expected = (parts.measured.abs() ** 2).sum(1) / (d.abs() ** 2).sum(1)
    assert torch.allclose(parts.share, expected)


def test_counts_of_zero_hide_nothing_that_the_scanner_sees():
    # Lines of the air have no counts, those of the patient some.
    A, d = Dense(torch.block_diag(random(30, 9, seed=4).abs(), random(30, 9, seed=5).abs())), random(3, 18, seed=1)
    counts = A((torch.arange(18) > 8).double()).round()
    share = split(A, worth(Poisson(), counts), d).share
    assert float(share.min()) > 0.99


@pytest.mark.parametrize(
    ("likelihood", "y", "weight"),
    [
        (Gaussian(0.5), [3.0, -2.0], [4.0, 4.0]),
        (Poisson(2.0), [5.0, 0.0], [0.2, 1.0]),
        (Poisson(), [4.0, 0.0], [0.25, 1.0]),
        (TransmissionPoisson(1000.0), [100.0, 0.0], [100.0, 1.0]),
        (Gaussian(0.5, mask=[1, 0]), [3.0, 1.0], [4.0, 0.0]),
    ],
)
def test_a_datum_is_worth_the_inverse_of_its_own_variance(likelihood, y, weight):
    found = worth(likelihood, torch.tensor(y, dtype=torch.float64))
    assert torch.allclose(found, torch.tensor(weight, dtype=torch.float64), rtol=1e-3)


def test_a_false_structure_in_the_null_space_is_unmeasured_and_fits_the_data():
    A, truth = Dense(random(5, 9)), random(9, seed=1)
    false = split(A, torch.ones(5, dtype=torch.float64), random(9, seed=2), tolerance=1e-12).unmeasured
    found = hallucination(A, A(truth), Gaussian(0.1), truth + false, truth, tolerance=1e-12)
    assert torch.allclose(found.measured, torch.zeros(9, dtype=torch.float64), atol=1e-8)
    assert torch.allclose(found.unmeasured, false, atol=1e-8)


def test_a_false_structure_that_the_scanner_sees_contradicts_the_data():
    A, truth = Dense(random(5, 9)), random(9, seed=1)
    false = split(A, torch.ones(5, dtype=torch.float64), random(9, seed=2), tolerance=1e-12).measured
    found = hallucination(A, A(truth), Gaussian(0.1), truth + false, truth, tolerance=1e-12)
    assert torch.allclose(found.measured, false, atol=1e-8)
    assert torch.allclose(found.unmeasured, torch.zeros(9, dtype=torch.float64), atol=1e-8)
    assert hallucination(A, A(truth), Gaussian(0.1), truth + false).unmeasured is None
