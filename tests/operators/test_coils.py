"""Channels: whitened, compressed, simulated."""

import pytest
import torch
from torch import Tensor

from scoreinv.operators.coils import coil_compression, prewhiten, rss, simulated_coils


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex64)


def correlated_noise(samples: int, channels: int = 6, seed: int = 0) -> Tensor:
    return 3e-5 * torch.tensordot(random(channels, channels, seed=99), random(channels, samples, seed=seed), 1)


def test_rss_of_coil_images_is_that_of_the_image_for_normalised_maps() -> None:
    image = random(12, 10)
    torch.testing.assert_close(rss(simulated_coils(5, (12, 10)) * image), image.abs())


def test_prewhitened_noise_has_unit_deviation_per_real_component() -> None:
    k_space = random(6, 5, 7)
    whitened, matrix = prewhiten(k_space, correlated_noise(20000))
    torch.testing.assert_close(whitened, torch.tensordot(matrix, k_space, 1))
    other = torch.tensordot(matrix, correlated_noise(20000, seed=1), 1)
    components = torch.cat([other.real, other.imag])
    assert torch.allclose(components.cov(), torch.eye(12), atol=0.05)


def test_prewhitening_the_noise_itself_is_exact() -> None:
    noise = correlated_noise(500)
    whitened, _ = prewhiten(noise, noise)
    torch.testing.assert_close(whitened @ whitened.mH / 1000, torch.eye(6).to(noise), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", [(40, 30), (7, 11, 13), (900,)])
def test_compression_keeps_the_energy_of_data_of_low_rank(layout: tuple[int, ...]) -> None:
    k_space = torch.tensordot(random(9, 4), random(4, *layout, seed=1), 1)
    compressed, matrix = coil_compression(k_space, 4)
    assert compressed.shape == (4, *layout)
    assert float(compressed.norm()) == pytest.approx(float(k_space.norm()), rel=1e-5)
    torch.testing.assert_close(torch.tensordot(matrix.mH, compressed, 1), k_space, rtol=0, atol=1e-4)


def test_compression_keeps_white_noise_white_and_the_strongest_first() -> None:
    k_space = torch.linspace(1, 3, 8)[:, None] * random(8, 500)
    compressed, matrix = coil_compression(k_space, 5)
    torch.testing.assert_close(matrix @ matrix.mH, torch.eye(5).to(matrix), rtol=0, atol=1e-6)
    energies = compressed.abs().square().sum(1)
    assert bool((energies.diff() < 0).all())
    singular = torch.linalg.svdvals(k_space)
    torch.testing.assert_close(energies, singular[:5].square(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("count", "shape"), [(1, (8, 9)), (8, (40, 32)), (12, (20, 24, 22)), (32, (10, 12, 12))])
def test_simulated_coils_are_smooth_normalised_and_all_different(count: int, shape: tuple[int, ...]) -> None:
    maps = simulated_coils(count, shape)
    assert maps.shape == (count, *shape)
    assert maps.dtype == torch.complex64
    torch.testing.assert_close(rss(maps), torch.ones(shape))
    assert torch.equal(maps, simulated_coils(count, shape))
    for axis in range(1, maps.ndim):
        assert float(torch.linalg.vector_norm(maps.diff(dim=axis), dim=0).max()) < 8 / shape[axis - 1]
    flat = maps.flatten(1) / maps.flatten(1).norm(dim=1, keepdim=True)
    assert float((flat @ flat.mH - torch.eye(count)).abs().max()) < 0.999


def test_wrong_arguments_are_refused_in_one_line() -> None:
    k_space, noise = random(4, 8, 8), random(4, 100)
    spoilt = k_space.clone()
    spoilt[1, 2, 3] = float("nan")
    with pytest.raises(ValueError, match=r"^prewhiten: 3 noise samples of 4 channels, expected at least 4.*$"):
        prewhiten(k_space, noise[:, :3])
    with pytest.raises(ValueError, match=r"^prewhiten: noise has shape \(3, 100\), expected \(4, samples\).*$"):
        prewhiten(k_space, noise[:3])
    with pytest.raises(ValueError, match=r"^prewhiten: noise of channel 2 is zero.*$"):
        prewhiten(k_space, noise * torch.tensor([1.0, 1.0, 0.0, 1.0])[:, None])
    with pytest.raises(ValueError, match=r"^prewhiten: noise of one channel is a mixture.*$"):
        prewhiten(k_space, noise[[0, 1, 2, 2]])
    with pytest.raises(ValueError, match=r"^coil_compression: k_space holds 1 NaN or Inf of 256 values.*$"):
        coil_compression(spoilt, 2)
    with pytest.raises(ValueError, match=r"^coil_compression: 5 virtual coils of 4 channels, expected 1 to 4$"):
        coil_compression(k_space, 5)
    with pytest.raises(TypeError, match=r"^coil_compression: k_space is torch.float32, expected a complex tensor.*$"):
        coil_compression(k_space.real, 2)
    with pytest.raises(ValueError, match=r"^simulated_coils: 4 coils over \(8,\), expected .*$"):
        simulated_coils(4, (8,))
