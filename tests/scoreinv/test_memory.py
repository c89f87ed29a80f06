"""Memory of whole reconstructions, each in a process of its own."""

import subprocess
import sys

import pytest

DPS = """
import resource
import numpy as np
import torch
from scoreinv import load_prior, solve
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, Volume

volume = Volume((128, 128, 128), (3.0, 3.0, 3.0))
angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (128, 128), (4.5, 4.5), angles), volume)
y = operator(torch.full(volume.shape, 0.02))
solve(operator, y, load_prior("ct-128"), likelihood=Gaussian(0.05), method="dps", steps=1, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.slow
def test_dps_of_a_large_volume_holds_the_activations_of_a_chunk_of_slices_at_a_time():
    ran = subprocess.run([sys.executable, "-c", DPS], check=True, capture_output=True, text=True)
    assert float(ran.stdout) < 4  # GB; the graph of all slices would take more than ten
