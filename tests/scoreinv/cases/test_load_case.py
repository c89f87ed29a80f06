"""What a configuration says of backends and devices, and where data and prior then are."""

import sys

import pytest
import torch
import toy_tigre
from simulated_streams import Streams

from scoreinv.cases import load_case
from scoreinv.config import CTSettings, MRISettings, PETSettings, resolve
from scoreinv.run import run

SIZE = {"shape": [2, 16, 16], "voxel_size": [8.0, 8.0, 8.0]}
CT = {"input": {"phantom": SIZE}, "scan": {"views": 6}, "methods": ["dds"]}
PET = {"input": {"phantom": SIZE | {"region": "head"}}, "lines": {"max_ring_difference": 1}, "methods": ["osem"]}


@pytest.fixture
def gpu(monkeypatch):
    """One that is the CPU under another name."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("scoreinv.operators._devices._has_compiler", lambda: True)
    monkeypatch.setattr("scoreinv.operators.streamed.GPU", "cpu")
    Streams(monkeypatch)


def loaded(kind, tree, *overrides):
    return load_case(resolve(kind, tree, list(overrides)))


@pytest.mark.parametrize(("kind", "tree"), [(CTSettings, CT), (PETSettings, PET)])
def test_the_scan_is_the_same_by_every_backend(kind, tree, gpu):
    plain = loaded(kind, tree)
    assert plain.operator.backend == "auto"
    for backend in ("numba", "streamed"):
        case = loaded(kind, tree, f"backend={backend}")
        assert case.operator.backend == backend
        assert torch.equal(case.measurements, plain.measurements)
        wanted = plain.operator(plain.reference)
        torch.testing.assert_close(case.operator(plain.reference), wanted, rtol=1e-5, atol=1e-5 * float(wanted.max()))


def test_data_stay_on_the_cpu_for_a_backend_that_takes_no_others_and_the_prior_goes(gpu, monkeypatch, tmp_path):
    settings = resolve(CTSettings, CT, ["device=cuda", "backend=streamed", "sampling.steps=2"])
    case = load_case(settings)
    assert case.measurements.device.type == "cpu"
    assert case.prior_device == torch.device("cuda")
    moved = []
    monkeypatch.setattr("scoreinv.priors.NetworkPrior.to", lambda self, device: moved.append(device) or self)
    run(settings, tmp_path, progress=False, say=lambda line: None)
    assert moved == [torch.device("cuda")]


def test_tigre_projects_for_a_run(monkeypatch, tmp_path):
    calls = toy_tigre.install(monkeypatch)
    run(resolve(CTSettings, CT, ["backend=tigre", "methods=[sart]"]), tmp_path, progress=False, say=lambda line: None)
    assert ("Ax", "interpolated") in calls


def test_a_backend_that_is_absent_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "parallelproj_core", None)
    with pytest.raises(ImportError, match="needs parallelproj 2: conda install"):
        loaded(PETSettings, PET, "backend=parallelproj")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_backend_of_a_gpu_that_is_not_there_says_so():
    with pytest.raises(ValueError, match="backend: ConeBeamCT: backend 'streamed' needs an NVIDIA GPU"):
        loaded(CTSettings, CT, "backend=streamed")


@pytest.mark.parametrize(("kind", "tree"), [(PETSettings, PET), (CTSettings, CT)])
def test_others_are_refused_by_name(kind, tree):
    with pytest.raises(ValueError, match="backend"):
        resolve(kind, tree, ["backend=rtk"])


def test_mri_has_no_line_integrals():
    with pytest.raises(ValueError, match="backend"):
        resolve(MRISettings, {}, ["backend=numba"])
