"""Runs on a GPU against the same on the CPU."""

import pytest
import torch

from scoreinv.config import RUNS, resolve
from scoreinv.run import run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

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
        "scan": {"sampling": "radial", "coils": 4},
        "methods": ["zero_filled", "cg_sense", "l1_wavelet", "tv", "dds"],
    },
    "pet": {
        "input": {"phantom": SIZE | {"region": "head"}},
        "lines": {"max_ring_difference": 2},
        "methods": ["osem", "bsrem", "map-em"],
    },
}


def check_same(modality, folder, *how):
    """That a run on the GPU gives what one on the CPU does."""
    found = {}
    for place, overrides in (("cpu", ()), ("gpu", ("device=cuda", *how))):
        settings = resolve(RUNS[modality], CASES[modality], ["sampling.steps=8", *overrides])
        found[place] = run(settings, folder / place, progress=False, say=lambda line: None)
    for method, row in found["cpu"].items():
        assert found["gpu"][method]["psnr"] == pytest.approx(row["psnr"], abs=0.1), method


@pytest.mark.parametrize("modality", CASES)
def test_a_run_gives_the_same_on_either_device(modality, tmp_path):
    check_same(modality, tmp_path)


@pytest.mark.parametrize("modality", ["cbct", "pet"])
def test_a_run_that_streams_its_line_integrals_gives_the_same(modality, tmp_path):
    check_same(modality, tmp_path, "backend=streamed")
