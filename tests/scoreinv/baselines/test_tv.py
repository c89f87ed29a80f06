"""Total variation: convergence, the meaning of its strength, and its noise models."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreinv.baselines import cgls, fdk, sart, tv
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.geometry import ConeBeamGeometry, Volume
from scoreinv.operators.likelihood import Gaussian, TransmissionPoisson
from scoreinv.operators.linear import LinearOperator
from scoreinv.phantoms import body

SIGMA, PHOTONS = 0.01, 1e5


class Identity(LinearOperator):
    """Denoising: the image itself is measured."""

    def __init__(self, *shape: int) -> None:
        super().__init__(shape, shape)

    def _apply(self, x: Tensor) -> Tensor:
        return x.clone()

    def _adjoint(self, y: Tensor) -> Tensor:
        return y.clone()


class Fourier(LinearOperator):
    """A complex operator, of the image's own norm."""

    def __init__(self, *shape: int) -> None:
        super().__init__(shape, shape, torch.complex64, torch.complex64)

    def _apply(self, x: Tensor) -> Tensor:
        return torch.fft.fftn(x, norm="ortho")

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.fft.ifftn(y, norm="ortho")


def cone(
    views: int = 24, pixel: float = 9.0, voxel: tuple[float, float, float] = (8.0, 8.0, 8.0), twice: bool = False
) -> ConeBeamCT:
    """A scan of a box of 96 x 384 x 384 mm, of the same extent whatever the pixels and voxels."""
    angles = np.repeat(np.linspace(0, 2 * np.pi, views, endpoint=False), 2 if twice else 1)
    detector = (round(180 / pixel), round(810 / pixel))
    volume = Volume((round(96 / voxel[0]), round(384 / voxel[1]), round(384 / voxel[2])), voxel)
    return ConeBeamCT(ConeBeamGeometry.circular(800, 1200, detector, (pixel, pixel), angles), volume)


@cache
def scan() -> tuple[ConeBeamCT, Tensor, Tensor, Tensor]:
    """Operator, attenuation, counts and line integrals of a body."""
    operator = cone()
    truth = 0.02 * (1 + body(2026, operator.in_shape, operator.volume.voxel_size) / 1000).clamp(min=0)
    counts = torch.poisson(PHOTONS * torch.exp(-operator.forward(truth)), generator=torch.Generator().manual_seed(0))
    return operator, truth, counts, torch.log(PHOTONS / counts.clamp(min=0.5))


def ball(operator: ConeBeamCT, core: float = 0.0) -> Tensor:
    """A ball with a denser one in it, 1/mm, on the operator's grid; or the core of the inner one, of a radius in mm."""
    volume = operator.volume
    axes = [
        f + s * torch.arange(n) for f, s, n in zip(volume.first_voxel, volume.voxel_size, volume.shape, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    inner = (4 * z**2 + y**2 + (x - 30) ** 2).sqrt()
    if core:
        return inner < core
    outer = (9 * z**2 + y**2 + x**2).sqrt()
    edge = max(volume.voxel_size)
    return sum(mu * ((r - d) / edge + 0.5).clamp(0, 1) for mu, r, d in ((0.02, 120, outer), (0.01, 40, inner))).float()


def noisy(operator: ConeBeamCT, sigma: float, seed: int = 0) -> Tensor:
    y = operator.forward(ball(operator))
    return y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))


def error(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def total_variation(x: Tensor) -> Tensor:
    parts = [torch.diff(x, dim=k, append=x.narrow(k, x.shape[k] - 1, 1)) for k in range(x.ndim)]
    return sum(part.double().square() for part in parts).sqrt().sum()


def test_tv_beats_the_other_baselines_with_24_views() -> None:
    operator, truth, _, y = scan()
    mse = {
        "fdk": (fdk(operator, y, filter="hann") - truth).square().mean(),
        "sart": (sart(operator, y) - truth).square().mean(),
        "cgls": (cgls(operator, y) - truth).square().mean(),
    }
    assert (tv(operator, y, iterations=60) - truth).square().mean() < 0.8 * min(mse.values())


def test_denoising_two_levels_moves_them_by_the_known_amount() -> None:
    # A row of n zeros and n ones has the exact solution lambda / n, 1 - lambda / n; here H = 1 / sigma^2.
    operator, n, sigma, strength = Identity(2 * 8), 8, 0.5, 1.2
    y = torch.cat([torch.zeros(n), torch.ones(n)])
    image = tv(operator, y, likelihood=Gaussian(sigma), strength=strength, iterations=400)
    response = torch.randn(2 * n, generator=torch.Generator().manual_seed(0)).square().mean().sqrt()
    shift = float(strength * sigma * response) / n
    assert torch.allclose(image, torch.where(y > 0, 1 - shift, shift), atol=1e-4)


@pytest.mark.parametrize("phase", [0.0, 1.1])
def test_complex_images_are_denoised_as_their_size_is_whatever_their_phase(phase: float) -> None:
    n, sigma, strength = 8, 0.5, 1.2
    x = torch.polar(torch.cat([torch.zeros(n), torch.ones(n)]), torch.full((2 * n,), phase))
    operator = Fourier(2 * n)
    image = tv(operator, operator.forward(x), likelihood=Gaussian(sigma), strength=strength, iterations=600)
    noise = torch.randn(2 * n, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    shift = strength * sigma * float(noise.norm()) / (2 * n) ** 0.5 / n
    expected = torch.where(x.abs() > 0.5, 1 - shift, shift) * torch.polar(torch.ones(()), torch.tensor(phase))
    torch.testing.assert_close(image, expected, rtol=0, atol=5e-4)


def test_strong_smoothing_leaves_a_constant() -> None:
    y = torch.rand(12, 12, generator=torch.Generator().manual_seed(0))
    image = tv(Identity(12, 12), y, likelihood=Gaussian(1.0), strength=5.0, iterations=400)
    assert torch.allclose(image, y.mean().expand(12, 12), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_default_iterations_come_near_the_minimum(strength: float) -> None:
    operator, truth, _, y = scan()
    sigma = 0.01 * float(y.square().mean().sqrt())
    response = operator.forward(torch.randn(operator.in_shape, generator=torch.Generator().manual_seed(0)))
    weight = strength * float(response.norm()) / truth.numel() ** 0.5 / sigma

    def objective(x: Tensor) -> float:
        misfit = (operator.forward(x) - y).double().square().sum() / (2 * sigma**2)
        return float(misfit + weight * total_variation(x))

    default, long = (tv(operator, y, strength=strength, **more) for more in ({}, {"iterations": 1000}))
    assert objective(default) < 1.01 * objective(long)
    assert abs(10 * torch.log10((default - truth).square().sum() / (long - truth).square().sum())) < 0.1


@pytest.mark.parametrize(("scale", "image"), [(1e3, 1.0), (1.0, 1e3), (1e-2, 1e-2)])
def test_rescaling_changes_nothing(scale: float, image: float) -> None:
    operator, _, _, y = scan()
    plain = tv(operator, y, likelihood=Gaussian(SIGMA), iterations=20)
    rescaled = tv(scale / image * operator, scale * y, likelihood=Gaussian(scale * SIGMA), iterations=20)
    assert error(rescaled / image, plain) < 1e-3


def test_without_a_likelihood_the_noise_is_a_hundredth_of_the_signal() -> None:
    operator, _, _, y = scan()
    sigma = 0.01 * float(y.square().mean().sqrt())
    assert torch.equal(tv(operator, y, iterations=3), tv(operator, y, likelihood=Gaussian(sigma), iterations=3))


def test_twice_the_views_at_half_the_dose_change_nothing() -> None:
    once, twice = cone(), cone(twice=True)
    y = noisy(once, SIGMA)
    image = tv(once, y, likelihood=Gaussian(SIGMA), iterations=20)
    halved = tv(twice, y.repeat_interleave(2, 0), likelihood=Gaussian(SIGMA * 2**0.5), iterations=20)
    assert error(halved, image) < 1e-3


@pytest.mark.parametrize(
    ("change", "noise"),
    [
        ({"voxel": (4.0, 4.0, 4.0)}, 1.0),
        ({"voxel": (4.0, 8.0, 8.0)}, 1.0),
        ({"pixel": 4.5}, 2.0),  # a pixel a quarter as large catches a quarter of the photons
        ({"views": 48}, 2**0.5),
    ],
)
def test_a_strength_means_the_same_on_any_grid(change: dict, noise: float) -> None:
    """TV takes a share of the contrast of a detail, in proportion to lambda: the same share on any grid."""
    lost = []
    for operator, level in ((cone(), 0.2), (cone(**change), noise * 0.2)):
        truth = ball(operator)
        image = tv(operator, operator.forward(truth), likelihood=Gaussian(level), strength=6.0, iterations=60)
        lost.append(float((truth - image)[ball(operator, core=25)].mean()))
    assert lost[0] > 0.0005
    assert lost[1] == pytest.approx(lost[0], rel=0.2)


def test_counts_do_as_well_as_line_integrals_weighted_by_counts() -> None:
    operator, truth, counts, y = scan()
    weighted = tv(operator, y, likelihood=Gaussian(counts.clamp(min=1) ** -0.5), iterations=60)
    direct = tv(operator, counts, likelihood=TransmissionPoisson(PHOTONS), iterations=60)
    assert error(direct, weighted) < 0.05
    assert error(direct, truth) < error(tv(operator, y, iterations=60), truth)


def test_masked_data_do_not_matter() -> None:
    operator, _, _, y = scan()
    mask = (torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) > 0.1).float()
    spoilt = torch.where(mask > 0, y, 1e3)
    image = tv(operator, spoilt, likelihood=Gaussian(SIGMA, mask), iterations=10)
    assert torch.equal(image, tv(operator, y, likelihood=Gaussian(SIGMA, mask), iterations=10))


def test_no_signal_no_image() -> None:
    operator = scan()[0]
    assert not tv(operator, torch.zeros(operator.out_shape), iterations=2).any()


def test_values_are_clipped_only_if_asked() -> None:
    y = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    assert float(tv(Identity(4), y, strength=0.1, iterations=20).min()) == 0
    assert float(tv(Identity(4), y, strength=0.1, iterations=20, nonnegative=False).min()) < -0.9


def test_wrong_arguments_are_refused_in_one_line() -> None:
    operator, _, _, y = scan()
    with pytest.raises(TypeError, match=r"^tv: images of .* are complex, and cannot be kept nonnegative.*$"):
        tv(Fourier(8, 8), torch.zeros(8, 8, dtype=torch.complex64), nonnegative=True)
    with pytest.raises(ValueError, match=r"^tv: measurements have shape .*$"):
        tv(FiniteDifference((4, 4)), torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"^tv: strength 0.*$"):
        tv(operator, y, strength=0)
    with pytest.raises(ValueError, match=r"^tv: .*iterations 0.*$"):
        tv(operator, y, iterations=0)
