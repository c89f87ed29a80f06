"""ConeBeamCT by TIGRE: what crosses to it and back, and that it is never called where it would end the process."""

import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import toy_tigre

from scoreinv.baselines import sart
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, ParallelBeamCT, ParallelBeamGeometry, Volume

VOLUME = Volume((4, 6, 8), (2.0, 1.5, 1.0), (0.5, 1.0, -1.0))
ANGLES = np.linspace(0, 5, 6)
SCAN = ConeBeamGeometry.circular(100.0, 150.0, (5, 7), (2.0, 2.5), ANGLES, detector_offset=(1.0, -3.0))


def test_images_and_data_are_those_of_the_same_scan(monkeypatch):
    calls = toy_tigre.install(monkeypatch)
    A, ours = ConeBeamCT(SCAN, VOLUME, backend="tigre"), ConeBeamCT(SCAN, VOLUME, backend="numba")
    x, y = torch.rand(2, *A.in_shape), torch.rand(2, *A.out_shape)
    torch.testing.assert_close(A.forward(x), ours.forward(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(A.adjoint(y), ours.adjoint(y), rtol=0, atol=0)
    assert set(calls) == {("Ax", "interpolated")}


def test_methods_of_subsets_keep_the_backend_and_say_once_how_far_the_pair_is_from_one(monkeypatch, caplog):
    calls = toy_tigre.install(monkeypatch)
    from scoreinv.operators import tigre_projector

    monkeypatch.setattr(tigre_projector, "_told", set())
    transform = tigre_projector.TigreTransform
    monkeypatch.setattr(transform, "_apply", lambda self, x, apply=transform._apply: 1.01 * apply(self, x))
    A = ConeBeamCT(SCAN, VOLUME, backend="tigre")
    sart(A, A.forward(torch.rand(A.in_shape)), iterations=1, subsets=3)
    assert len(calls) > 3
    [said] = [record.message for record in caplog.records if "no exact pair" in record.message]
    assert "its adjoint is that of backend 'numba', and |<A x, y> - <x, A^T y>| is 0.0" in said


def test_without_a_gpu_it_is_not_called(monkeypatch):
    calls = toy_tigre.install(monkeypatch, gpus=())
    with pytest.raises(RuntimeError, match="ConeBeamCT needs an NVIDIA GPU, and TIGRE finds none; backend 'numba'"):
        ConeBeamCT(SCAN, VOLUME, backend="tigre")
    assert not calls


@pytest.mark.parametrize("module", [None, ModuleType("tigre")], ids=["absent", "the one on PyPI"])
def test_without_it_the_error_says_where_it_is(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "tigre", module)
    with pytest.raises(ImportError, match=r"ConeBeamCT needs TIGRE, built from https://github.com/CERN/TIGRE"):
        ConeBeamCT(SCAN, VOLUME, backend="tigre")


def test_data_elsewhere_and_of_another_precision_are_refused(monkeypatch):
    calls = toy_tigre.install(monkeypatch)
    A = ConeBeamCT(SCAN, VOLUME, backend="tigre")
    with pytest.raises(ValueError, match="on meta, expected cpu"):
        A.forward(torch.zeros(A.in_shape, device="meta"))
    with pytest.raises(TypeError, match=r"float64.*float32"):
        A.forward(torch.zeros(A.in_shape, dtype=torch.float64))
    assert not calls


def test_it_travels_to_other_processes(monkeypatch):
    toy_tigre.install(monkeypatch)
    A = ConeBeamCT(SCAN, VOLUME, backend="tigre")
    x = torch.rand(A.in_shape)
    torch.testing.assert_close(pickle.loads(pickle.dumps(A)).forward(x), A.forward(x), rtol=0, atol=0)


def test_parallel_beams_do_not_know_it():
    with pytest.raises(ValueError, match="ParallelBeamCT: backend is 'tigre', expected one of 'auto', 'numba'"):
        ParallelBeamCT(ParallelBeamGeometry.circular((5, 7), (2.0, 2.0), ANGLES), VOLUME, backend="tigre")
