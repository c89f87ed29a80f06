"""Runs on a GPU against the same on the CPU.

Where there is no GPU, one is simulated (`simulated_cuda`), in a process of its own: what is on which device is tried
there, and neither kernels nor speed.
"""

import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from scoreinv.config import RUNS, resolve
from scoreinv.run import run

SIMULATED = "SCOREINV_SIMULATED_GPU" in os.environ
HAS_GPU = torch.cuda.is_available()
SIZE = {"shape": [8, 64, 64], "voxel_size": [4.0, 4.0, 4.0]}
CASES = {
    "cbct": {
        "input": {"phantom": SIZE},
        "scan": {"views": 24},
        "networks": {"learned": "dif-net-tiny"},
        "methods": ["fdk", "sart", "tv", "naf", "learned", "dds", "tv+dds"],
        "options": {"naf": {"iterations": 20}},
    },
    "mri": {
        "input": {"phantom": SIZE | {"shape": [2, 64, 64]}},
        "scan": {"sampling": "radial", "coils": 2},
        "methods": ["zero_filled", "cg_sense", "l1_wavelet", "tv", "dds"],
        "options": {"l1_wavelet": {"iterations": 10}, "tv": {"iterations": 10}},
    },
    "pet": {
        "input": {"phantom": SIZE | {"region": "head"}},
        "lines": {"max_ring_difference": 2},
        "methods": ["osem", "bsrem", "map-em"],
    },
}
pytestmark = pytest.mark.filterwarnings("ignore:dif_net. the scan differs", "ignore:.torch.jit")
needs_gpu = pytest.mark.skipif(not HAS_GPU and not SIMULATED, reason="needs an NVIDIA GPU, or a simulated one")


@pytest.fixture
def check_same(tmp_path, monkeypatch):
    """That a run on the GPU gives what one on the CPU does."""

    def check(modality, *how):
        found = {}
        for place, overrides in (("cpu", ()), ("gpu", ("device=cuda", *how))):
            with _gpu(tmp_path, monkeypatch) if place == "gpu" else nullcontext():
                settings = resolve(RUNS[modality], CASES[modality], ["sampling.steps=4", *overrides])
                found[place] = run(settings, tmp_path / place, progress=False, say=lambda line: None)
        for method, row in found["cpu"].items():
            assert found["gpu"][method]["psnr"] == pytest.approx(row["psnr"], abs=0.1), method

    return check


def _gpu(folder, monkeypatch):
    if not SIMULATED:
        return nullcontext()
    from simulated_cuda import simulated_cuda

    return simulated_cuda(monkeypatch, folder)


@needs_gpu
@pytest.mark.parametrize("modality", CASES)
def test_a_run_gives_the_same_on_either_device(check_same, modality):
    check_same(modality)


@needs_gpu
@pytest.mark.parametrize("modality", ["cbct", "pet"])
def test_a_run_that_streams_its_line_integrals_gives_the_same(check_same, modality):
    check_same(modality, "backend=streamed")


@pytest.mark.skipif(not SIMULATED, reason="runs in the simulation")
def test_the_simulation_tells_devices_apart(tmp_path, monkeypatch):
    with _gpu(tmp_path, monkeypatch):
        x = torch.ones(2)
        there = x.to("cuda")
        assert (there.device.type, (there + there).cpu().tolist()) == ("cuda", [2.0, 2.0])
        with pytest.raises(RuntimeError, match="tensors on cuda:0 and"):
            there + x


@pytest.mark.slow
@pytest.mark.skipif(HAS_GPU or SIMULATED, reason="there is a GPU")
def test_a_simulated_gpu_stands_for_one():
    from simulated_cuda import COMPILER

    if COMPILER is None:
        pytest.skip("needs g++")
    environment = os.environ | {"SCOREINV_SIMULATED_GPU": "1", "PYTORCH_JIT": "0"}  # scripts would see through it
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
