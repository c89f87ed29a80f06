"""`scoreinv.memory`, and the memory of whole reconstructions, each in a process of its own."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from scoreinv.memory import PeakMemory, most_held

DPS = """
import numpy as np
import torch
from scoreinv import load_prior, solve
from scoreinv.memory import most_held
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, Volume

volume = Volume((128, 128, 128), (3.0, 3.0, 3.0))
angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (128, 128), (4.5, 4.5), angles), volume)
y = operator(torch.full(volume.shape, 0.02))
solve(operator, y, load_prior("ct-128"), likelihood=Gaussian(0.05), method="dps", steps=1, progress=False)
print(most_held() / 1e9)
"""


@pytest.mark.slow
def test_dps_of_a_large_volume_holds_the_activations_of_a_chunk_of_slices_at_a_time():
    ran = subprocess.run([sys.executable, "-c", DPS], check=True, capture_output=True, text=True)
    assert float(ran.stdout) < 4  # GB; the graph of all slices would take more than ten


def test_the_peak_is_that_of_this_process_whatever_started_it():
    held = np.ones(2**26)  # 512 MiB
    told = "from scoreinv.memory import most_held; import numpy; x = numpy.ones(2**23); del x; print(most_held())"
    ran = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    assert 2**26 < int(ran.stdout) < most_held() - held.nbytes // 2


def test_what_was_held_in_between_is_found_though_it_is_gone_at_the_end():
    held = np.ones(2**22)  # 32 MiB that do not count
    with PeakMemory() as memory:
        more = np.ones(2**23)
        time.sleep(0.1)
        del more
    assert 60 < memory.mebibytes < 80
    assert held.sum() == 2**22


def test_a_block_that_fails_raises_what_it_raised_and_nobody_looks_any_longer():
    threads = threading.active_count()
    with pytest.raises(ValueError, match="mine"), PeakMemory():
        raise ValueError("mine")
    assert threading.active_count() == threads


def test_memory_that_was_freed_before_counts_when_it_is_used_again():
    small = [np.ones(2**13) for _ in range(1024)]  # 64 KiB each, which freeing alone does not give back
    del small
    with PeakMemory() as memory:
        again = [np.ones(2**13) for _ in range(1024)]
        time.sleep(0.05)
    assert len(again) == 1024
    assert memory.mebibytes > 50
