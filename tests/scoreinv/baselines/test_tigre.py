"""TIGRE's reconstructions: what they are told of our scans, and what comes back."""

import numpy as np
import pytest
import torch
import toy_tigre

from scoreinv.baselines import tigre_asd_pocs, tigre_fdk, tigre_os_sart
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, ParallelBeamCT, ParallelBeamGeometry, Volume

VOLUME = Volume((4, 6, 8), (2.0, 1.5, 1.0), (0.5, 1.0, -1.0))
SCAN = ConeBeamGeometry.circular(100.0, 150.0, (5, 7), (2.0, 2.5), np.linspace(0, 5, 6))
METHODS = {
    tigre_fdk: ("fdk", {}),
    tigre_os_sart: ("ossart", {"niter": 3, "blocksize": 20}),
    tigre_asd_pocs: ("asd_pocs", {"niter": 3, "tviter": 20}),
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_options_reach_the_algorithm_and_its_image_comes_back(monkeypatch, method):
    calls = toy_tigre.install(monkeypatch)
    A = ConeBeamCT(SCAN, VOLUME)
    y = torch.rand(A.out_shape)
    name, options = METHODS[method]
    image = method(A, y, **({"iterations": 3} if options else {}))
    assert calls == [(name, options | {"verbose": False})]
    torch.testing.assert_close(image, A.adjoint(y), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_without_a_gpu_it_is_not_called(monkeypatch, method):
    calls = toy_tigre.install(monkeypatch, gpus=())
    A = ConeBeamCT(SCAN, VOLUME)
    with pytest.raises(RuntimeError, match=r"TIGRE's \w+ needs an NVIDIA GPU, and TIGRE finds none"):
        method(A, torch.rand(A.out_shape))
    assert not calls


def test_other_operators_and_numbers_below_one_are_refused():
    parallel = ParallelBeamCT(ParallelBeamGeometry.circular((5, 7), (2.0, 2.0), np.arange(3.0)), VOLUME)
    with pytest.raises(TypeError, match=r"TIGRE's fdk: operator is ParallelBeamCT.*, expected ConeBeamCT"):
        tigre_fdk(parallel, torch.rand(parallel.out_shape))
    A = ConeBeamCT(SCAN, VOLUME)
    with pytest.raises(ValueError, match=r"TIGRE's ossart: .*'niter': 0.* expected numbers of at least 1"):
        tigre_os_sart(A, torch.rand(A.out_shape), iterations=0)
