"""What is asked of every baseline for MRI."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from scoreinv import baselines
from scoreinv.baselines import cg_sense, cgls, l1_wavelet, tv, zero_filled
from scoreinv.operators import CartesianMRI, NonCartesianMRI
from scoreinv.operators.coils import simulated_coils
from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.trajectories import radial

methods = pytest.mark.parametrize("method", [getattr(baselines, name) for name in baselines.MRI])


def psnr(image: Tensor, truth: Tensor) -> float:
    """dB, of both components, over the truth's largest size."""
    return 10 * math.log10(float(truth.abs().max() ** 2 / (image - truth).abs().square().mean()))


@methods
def test_an_image_of_the_scale_and_phase_of_the_truth_comes_out(method, scan):
    operator, truth, y = scan
    image = method(operator, y)
    assert image.shape == operator.in_shape
    assert image.dtype == torch.complex64
    factor = (truth.conj() * image).sum() / truth.abs().square().sum()
    assert abs(complex(factor) - 1) < 0.15


@methods
@pytest.mark.parametrize("scale", [1e-6, 1e5j])
def test_rescaling_data_rescales_the_image(method, scale, scan):
    operator, _, y = scan
    plain = method(operator, y)
    # Strengths follow from noise that is estimated by iterations.
    assert float((method(operator, scale * y) / scale - plain).norm() / plain.norm()) < 5e-3


@pytest.mark.parametrize("method", [cg_sense, cgls, l1_wavelet, tv])
def test_rescaling_the_operator_rescales_the_image(method, scan):
    operator, _, y = scan
    plain = method(operator, y)
    assert float((1e3 * method(1e3 * operator, y) - plain).norm() / plain.norm()) < 2e-3


@pytest.mark.parametrize(
    ("method", "options"),
    [(zero_filled, {}), (cg_sense, {"regularisation": 0}), (l1_wavelet, {"strength": 1e-3}), (tv, {"strength": 1e-3})],
)
def test_complete_data_without_noise_give_the_image(method, options, full_scan):
    operator, truth, y = full_scan
    assert psnr(method(operator, y, **options), truth) > 45


def test_each_method_does_better_than_the_one_before(scan):
    operator, truth, y = scan
    values = [psnr(method(operator, y), truth) for method in (zero_filled, cg_sense, l1_wavelet, tv)]
    assert all(better > worse + 0.5 for worse, better in pairwise(values)), values


@pytest.mark.parametrize(
    ("method", "options"),
    [(zero_filled, {}), (cg_sense, {}), (l1_wavelet, {"iterations": 20}), (tv, {"iterations": 20})],
)
def test_radial_data_of_enough_spokes_give_the_image(method, options, scan):
    truth = torch.nn.functional.avg_pool2d(torch.view_as_real(scan[1]).permute(2, 0, 1), 3, 1, 1)  # no corners
    truth = torch.view_as_complex(truth.permute(1, 2, 0).contiguous())
    operator = NonCartesianMRI(radial(100, 128), (64, 60), simulated_coils(4, (64, 60)))
    noise = 1e-3 * torch.randn(operator.out_shape, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    assert psnr(method(operator, operator.forward(truth) + noise, **options), truth) > 26


@pytest.mark.parametrize("method", [cg_sense, l1_wavelet, tv])
def test_volumes_are_reconstructed_as_images_are(method):
    truth = torch.zeros(10, 20, 18, dtype=torch.complex64)
    truth[2:8, 4:15, 5:12] = 1j
    operator = CartesianMRI(torch.ones(10, 20, 18), simulated_coils(3, truth.shape))
    assert psnr(method(operator, operator.forward(truth)), truth) > 20


@methods
def test_no_signal_no_image(method, scan):
    operator, _, y = scan
    assert not method(operator, torch.zeros_like(y)).any()


@methods
def test_measurements_that_are_no_numbers_are_refused_in_one_line(method, scan):
    operator, _, y = scan
    spoilt = y.clone()
    spoilt[0, 1, 2] = complex("nan")
    with pytest.raises(ValueError, match=rf"^{method.__name__}: measurements hold 1 NaN or Inf of .*$"):
        method(operator, spoilt)
    with pytest.raises(ValueError, match=r"^\w+: measurements have shape .*$"):
        method(operator, y[:, 1:])


@pytest.mark.parametrize("method", [zero_filled, cg_sense, l1_wavelet])
def test_operators_of_other_scanners_are_refused_in_one_line(method):
    message = rf"^{method.__name__}: FiniteDifference.* is real, expected a complex operator such as CartesianMRI.*$"
    with pytest.raises(TypeError, match=message):
        method(FiniteDifference((4, 4)), torch.zeros(3, 4))
