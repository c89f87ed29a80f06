"""ASD-POCS on a sparse scan of a body: data met to their noise, at less total variation than SART's."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreinv.baselines import asd_pocs, sart
from scoreinv.baselines.asd_pocs import discrepancy
from scoreinv.baselines.differences import gradient, length, transposed_gradient
from scoreinv.metrics import psnr
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, TransmissionPoisson, Volume
from scoreinv.phantoms import body

SHAPE, VOXEL, VIEWS = (10, 40, 40), (9.0, 9.0, 9.0), 24


@cache
def scan() -> tuple[ConeBeamCT, Tensor, Tensor, Gaussian]:
    """Operator, attenuation, line integrals of 1e5 photons a pixel, their noise."""
    angles = np.linspace(0, 2 * np.pi, VIEWS, endpoint=False)
    operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (18, 72), (10.8, 10.8), angles), Volume(SHAPE, VOXEL))
    truth = 0.02 * (1 + body(2026, SHAPE, VOXEL) / 1000).clamp(min=0)
    expected = operator.forward(truth)
    counts = TransmissionPoisson(1e5).simulate(expected, torch.Generator().manual_seed(0)).clamp(min=1)
    return operator, truth, torch.log(1e5 / counts), Gaussian(counts.rsqrt())


@cache
def reconstructed(tolerance: float = 1.0) -> Tensor:
    operator, _, y, likelihood = scan()
    return asd_pocs(operator, y, likelihood=likelihood, tolerance=tolerance)


def total_variation(x: Tensor) -> float:
    return float(length(gradient(x, (1.0, 1.0, 1.0))).sum())


def test_residual_reaches_the_tolerance_of_the_noise() -> None:
    operator, truth, y, likelihood = scan()
    assert math.isclose(discrepancy(operator, truth, y, likelihood), 1, abs_tol=0.05)
    assert discrepancy(operator, reconstructed(), y, likelihood) < 1


def test_a_larger_tolerance_leaves_more_residual_and_less_variation() -> None:
    operator, _, y, likelihood = scan()
    tight, loose = reconstructed(), reconstructed(2.0)
    assert discrepancy(operator, tight, y, likelihood) < discrepancy(operator, loose, y, likelihood) < 2
    assert total_variation(loose) < total_variation(tight)


def test_less_variation_and_nearer_to_the_truth_than_sart() -> None:
    operator, truth, y, _ = scan()
    image, other = reconstructed(), sart(operator, y)
    assert total_variation(image) < total_variation(other)
    assert psnr(image, truth) > psnr(other, truth) + 1
    assert float(image.min()) >= 0


def test_masked_data_pull_at_nothing() -> None:
    operator, _, y, likelihood = scan()
    mask = torch.ones_like(y)
    mask[:, 5:7, 20:30] = 0
    spoilt = torch.where(mask > 0, y, torch.tensor(9.0))
    masked = Gaussian(likelihood.sigma, mask)
    both = [asd_pocs(operator, data, likelihood=masked, iterations=4) for data in (y, spoilt)]
    torch.testing.assert_close(both[0], both[1])


def test_transposed_gradient_is_the_transpose_of_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    x, q = torch.randn(3, 4, 5, generator=generator), torch.randn(3, 3, 4, 5, generator=generator)
    scales = (0.5, 1.0, 2.0)
    left, right = (gradient(x, scales) * q).sum(), (x * transposed_gradient(q, scales)).sum()
    torch.testing.assert_close(left, right)


def test_wrong_arguments_are_refused_in_one_line() -> None:
    operator, _, y, _ = scan()
    with pytest.raises(ValueError, match=r"^asd_pocs: tolerance 0, iterations 40; expected tolerance > 0.*$"):
        asd_pocs(operator, y, tolerance=0)
    with pytest.raises(TypeError, match=r"^asd_pocs: likelihood is TransmissionPoisson.*expected Gaussian.*$"):
        asd_pocs(operator, y, likelihood=TransmissionPoisson(1e5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^asd_pocs: measurements have shape .*$"):
        asd_pocs(operator, y[1:])
