import torch

from scoreinv.cases.mri.acquisition import Acquisition
from scoreinv.io import KSpace


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex64)


def test_noise_scans_make_channels_alike_and_keep_the_unit():
    mixing = torch.eye(4, dtype=torch.complex64) + 0.3 * random(4, 4)
    noise, more = (0.05 * mixing @ random(4, 4000, seed=seed) for seed in (1, 2))
    k = KSpace(more.reshape(4, 40, 100), mask=torch.ones(40, 100, dtype=torch.bool), noise=noise)
    white = Acquisition(k).whitened()
    flat = white.k_space.data.flatten(1)
    covariance = flat @ flat.mH / (2 * flat.shape[1])
    expected = white.sigma**2 * torch.eye(4, dtype=torch.complex64)
    torch.testing.assert_close(covariance, expected, atol=0.1 * white.sigma**2, rtol=0)
    assert 0.02 < white.sigma < 0.06


def test_maps_and_calibration_are_compressed_with_the_data():
    image, maps = random(40, 40), random(6, 40, 40, seed=1)
    k = KSpace(maps * image, mask=torch.ones(40, 40, dtype=torch.bool), calibration=2 * maps * image)
    few = Acquisition(k, 0.1, maps).compressed(3)
    assert few.k_space.data.shape == (3, 40, 40)
    torch.testing.assert_close(few.maps * image, few.k_space.data)
    torch.testing.assert_close(few.k_space.calibration, 2 * few.k_space.data)
    assert few.sigma == 0.1
