"""SART and CGLS on a sparse phantom, and as solvers of small problems solved otherwise."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreinv.baselines import cgls, fdk, sart, tv
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.geometry import ConeBeamGeometry, Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.phantoms import body

SHAPE, VOXEL = (16, 64, 64), (6.0, 6.0, 6.0)


class Matrix(LinearOperator):
    """Measurements (views, n) of a vector, by a dense matrix."""

    def __init__(self, matrix: Tensor, views: int = 1) -> None:
        rows, columns = matrix.shape
        super().__init__((columns,), (views, rows // views), matrix.dtype, matrix.dtype)
        self.matrix = matrix

    def _apply(self, x: Tensor) -> Tensor:
        return (x @ self.matrix.T).unflatten(-1, self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y.flatten(-2) @ self.matrix.conj()


def psnr(image: Tensor, truth: Tensor) -> float:
    """dB over a range of 2000 HU."""
    return 20 * math.log10(0.04) - 10 * math.log10(float((image - truth).square().mean()))


@cache
def scan(views: int) -> tuple[ConeBeamCT, Tensor, Tensor]:
    """Operator, attenuation and line integrals of a body seen with 1e5 photons a pixel."""
    angles = np.linspace(0, 2 * np.pi, views, endpoint=False)
    operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (28, 112), (7.2, 7.2), angles), Volume(SHAPE, VOXEL))
    truth = 0.02 * (1 + body(2026, SHAPE, VOXEL) / 1000).clamp(min=0)
    counts = torch.poisson(1e5 * torch.exp(-operator.forward(truth)), generator=torch.Generator().manual_seed(0))
    return operator, truth, torch.log(1e5 / counts.clamp(min=0.5))


@pytest.mark.parametrize("method", [sart, cgls])
def test_iterating_beats_filtering_with_24_views(method):
    operator, truth, y = scan(24)
    filtered = max(psnr(fdk(operator, y, filter=name), truth) for name in ("ramp", "shepp-logan", "hann"))
    assert psnr(method(operator, y), truth) > filtered + 2


@pytest.mark.parametrize("subsets", [1, 3, 24])
def test_sart_converges_to_consistent_data_for_any_subsets(subsets: int) -> None:
    operator, truth, _ = scan(24)
    y = operator.forward(truth)
    residuals = [
        float(
            (operator.forward(sart(operator, y, iterations=n, subsets=subsets, relaxation=1.0)) - y).norm() / y.norm()
        )
        for n in (2, 6)
    ]
    assert residuals[1] < 0.75 * residuals[0] < 0.2


def test_sart_is_not_thrown_off_by_voxels_seen_in_part_of_the_views() -> None:
    operator, _, _ = scan(24)
    g = operator.geometry
    truncated = ConeBeamCT(
        ConeBeamGeometry(g.sources, g.detector_centers, g.v_steps, g.u_steps, (10, 40)), operator.volume
    )
    image = sart(truncated, truncated.forward(scan(24)[1]), iterations=4, subsets=24, relaxation=1.0)
    assert float(image.max()) < 0.3


def test_sart_clips_only_if_asked() -> None:
    operator, _, y = scan(24)
    assert float(sart(operator, y, iterations=2).min()) == 0
    assert float(sart(operator, y, iterations=2, nonnegative=False).min()) < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_cgls_finds_the_least_squares_solution(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(12, 7, dtype=dtype, generator=generator)
    y = torch.randn(5, 3, 4, dtype=dtype, generator=generator)
    expected = torch.linalg.lstsq(matrix, y.flatten(1).T).solution.T
    found = cgls(Matrix(matrix, 3), y, iterations=50, tolerance=1e-7)
    assert torch.allclose(found, expected, atol=1e-4)


def test_cgls_stops_at_its_tolerance() -> None:
    operator, _, y = scan(24)
    gradient = [
        float(operator.adjoint(y - operator.forward(cgls(operator, y, iterations=n, tolerance=0.05))).norm())
        for n in (30, 60)
    ]
    assert gradient[0] == gradient[1] < 0.06 * float(operator.adjoint(y).norm())


def test_wrong_arguments_are_refused_in_one_line() -> None:
    operator, _, y = scan(24)
    with pytest.raises(ValueError, match=r"^sart: measurements have shape \(23, 28, 112\), expected .*$"):
        sart(operator, y[1:])
    with pytest.raises(ValueError, match=r"^sart: .*subsets 25.*1 <= subsets <= 24.*$"):
        sart(operator, y, subsets=25)
    with pytest.raises(ValueError, match=r"^sart: .*relaxation 2.*$"):
        sart(operator, y, relaxation=2)
    with pytest.raises(NotImplementedError, match=r"has no views"):
        sart(Matrix(torch.rand(6, 4), 3), torch.rand(3, 2), subsets=3)
    with pytest.raises(ValueError, match=r"^cgls: iterations is 0.*$"):
        cgls(operator, y, iterations=0)
    with pytest.raises(ValueError, match=r"^ConeBeamCT: measurements .*$"):
        cgls(operator, y[1:])


@pytest.mark.parametrize("method", [fdk, sart, cgls, tv])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_measurements_that_are_no_numbers_are_refused_in_one_line(method, value):
    operator, _, y = scan(24)
    spoilt = y.clone()
    spoilt[3, 4, 5] = value
    name = method.__name__
    with pytest.raises(ValueError, match=rf"^{name}: measurements hold 1 NaN or Inf of \d+ values, expected finite.*$"):
        method(operator, spoilt)
