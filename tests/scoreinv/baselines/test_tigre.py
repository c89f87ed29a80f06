"""TIGRE's reconstructions: what they are told of our scans, and what comes back."""

import numpy as np
import pytest
import torch
import toy_tigre

from scoreinv.baselines import tigre_asd_pocs, tigre_fdk, tigre_os_sart
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, ParallelBeamCT, ParallelBeamGeometry, Volume

VOLUME = Volume((4, 6, 8), (2.0, 1.5, 1.0), (0.5, 1.0, -1.0))
TURN = 0.3 + 2 * np.pi * np.arange(6) / 6
METHODS = (tigre_fdk, tigre_os_sart, tigre_asd_pocs)
each = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def scan(angles=TURN, **options):
    """An operator, and data of it."""
    A = ConeBeamCT(ConeBeamGeometry.circular(100.0, 150.0, (5, 7), (2.0, 2.5), angles, **options), VOLUME)
    return A, torch.rand(A.out_shape, generator=torch.Generator().manual_seed(0))


@each
def test_its_image_comes_back(monkeypatch, method):
    toy_tigre.install(monkeypatch)
    A, y = scan()
    torch.testing.assert_close(method(A, y), A.adjoint(y), rtol=1e-4, atol=1e-4)


def test_options_reach_the_algorithm(monkeypatch):
    calls = toy_tigre.install(monkeypatch)
    A, y = scan()
    tigre_os_sart(A, y, iterations=3, block_size=2)
    tigre_asd_pocs(A, y, iterations=4, likelihood=Gaussian(0.5), tolerance=2.0)
    (first, os_sart), (second, pocs) = calls
    assert (first, os_sart) == ("ossart", {"verbose": False, "niter": 3, "blocksize": 2})
    # Without a tolerance TIGRE asks its FDK for one, which ends in an error where the detector is displaced.
    assert pocs.pop("maxl2err") == pytest.approx(2 * 0.5 * y.numel() ** 0.5)
    assert (second, pocs) == ("os_asd_pocs", {"verbose": False, "niter": 4, "blocksize": 20})


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_weights_of_a_displaced_detector_are_for_one_that_is(monkeypatch, offset):
    calls = toy_tigre.install(monkeypatch)
    tigre_fdk(*scan(detector_offset=(0.0, offset)))
    assert calls == [("fdk", {"verbose": False, "dowang": offset != 0})]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"detector_offset": (2.0, 0.0)}, "no circle with an upright detector, level with the source"),
        ({"angles": np.linspace(0, np.pi, 6)}, "6 views over 180 degrees, expected even steps of a full turn"),
        ({"angles": TURN + 0.1 * np.eye(6)[1]}, "expected even steps"),
    ],
    ids=["v offset", "short", "uneven"],
)
def test_scans_that_its_fdk_gets_wrong_are_refused(monkeypatch, changes, reason):
    calls = toy_tigre.install(monkeypatch)
    with pytest.raises(ValueError, match=f"tigre_fdk: .*{reason}"):
        tigre_fdk(*scan(**changes))
    assert not calls


@each
def test_without_a_gpu_it_is_not_called(monkeypatch, method):
    calls = toy_tigre.install(monkeypatch, gpus=())
    with pytest.raises(RuntimeError, match=r"tigre_.* needs an NVIDIA GPU, and TIGRE finds none; fdk, sart or"):
        method(*scan())
    assert not calls


def test_other_operators_numbers_and_noise_are_refused():
    parallel = ParallelBeamCT(ParallelBeamGeometry.circular((5, 7), (2.0, 2.0), np.arange(3.0)), VOLUME)
    with pytest.raises(TypeError, match=r"tigre_fdk: operator is ParallelBeamCT.*, expected ConeBeamCT"):
        tigre_fdk(parallel, torch.rand(parallel.out_shape))
    for method in (tigre_os_sart, tigre_asd_pocs):
        with pytest.raises(ValueError, match="iterations 3, block_size 1; expected iterations >= 1 and block_s"):
            method(*scan(), iterations=3, block_size=1)
    with pytest.raises(ValueError, match=r"tolerance 0\.0, expected tolerance > 0"):
        tigre_asd_pocs(*scan(), tolerance=0.0)
    with pytest.raises(TypeError, match="expected Gaussian noise without a mask"):
        tigre_asd_pocs(*scan(), likelihood=Gaussian(1.0, mask=torch.ones(6, 5, 7)))
