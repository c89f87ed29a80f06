"""Seconds and memory of the published configuration of DeepSparse at 256^3; weights do not matter to either.

python tests/benchmarks/deepsparse_published.py [views]
"""

from __future__ import annotations

import sys
import time

import torch

from scoreinv.baselines.deepsparse import DiCE
from scoreinv.baselines.networks import reconstruct
from scoreinv.memory import PeakMemory
from scoreinv.operators import ConeBeamCT, Volume
from scoreinv.training.scans import ScanSettings

VOLUME = Volume((256, 256, 256), (1.5, 1.5, 1.5))


def main() -> None:
    views = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    network = DiCE().eval()
    operator = ConeBeamCT(ScanSettings(views=views).geometry(), VOLUME)
    data = torch.rand(operator.out_shape, generator=torch.Generator().manual_seed(0))
    with PeakMemory() as memory:
        begun = time.perf_counter()
        reconstruct(network, operator, data)
        spent = time.perf_counter() - begun
    print(f"{views} views, {torch.get_num_threads()} threads: {spent:.0f} s, {memory.mebibytes:.0f} MiB")


if __name__ == "__main__":
    main()
