"""Runs on a GPU against the same on the CPU.

Where there is no GPU, one is simulated (`simulated_cuda`), in a process of its own: what is on which device is tried
there, and neither kernels nor speed.
"""

import os
import subprocess
import sys
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch

from scoreinv.config import RUNS, resolve
from scoreinv.operators import ConeBeamGeometry, RayTransform, Volume
from scoreinv.operators.streamed import StreamedTransform
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


@needs_gpu
def test_line_integrals_in_many_pieces_are_the_same(tmp_path, monkeypatch):
    volume = Volume((64, 64, 64), (3.0, 3.0, 3.0))
    rays = ConeBeamGeometry.circular(800, 1200, (64, 64), (4.5, 4.5), np.arange(16) * 0.4).rays(volume)
    whole = RayTransform(rays, volume)
    x, y = torch.rand(whole.in_shape), torch.rand(whole.out_shape)
    pieces = partial(StreamedTransform, lambda slab, i, n: RayTransform(rays, slab).subset(i, n))
    with _gpu(tmp_path, monkeypatch):
        streamed = pieces(volume, whole.out_shape, piece=1 << 14)  # 16 slabs, 4 subsets
        found = [(streamed.forward(x), streamed.adjoint(y)) for _ in range(3)]
    wanted = whole.forward(x), whole.adjoint(y)
    for pair in found:
        for got, true in zip(pair, wanted, strict=True):
            torch.testing.assert_close(got, true, rtol=1e-4, atol=1e-5 * float(true.max()))


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
    assert "1 skipped" in done.stdout  # this one
