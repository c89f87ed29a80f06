"""Learned reconstructions beside FDK and SART, on procedural bodies that none of them was trained on.

The scans are those of the training (`PhantomSettings`), noise included; images are compared within -1000 to 1000 HU.

Run: python tests/benchmarks/learned.py VIEWS [NAME=FOLDER ...]     (all bundled networks if none is named)
"""

import sys
import time

import numpy as np
import torch

from scoreinv.baselines import fdk, sart
from scoreinv.baselines.networks import bundled_networks, load_network, reconstruct
from scoreinv.metrics import psnr, ssim, to_attenuation
from scoreinv.operators import ConeBeamCT, Volume
from scoreinv.phantoms import body
from scoreinv.training.pair_source import PhantomSettings
from scoreinv.training.scans import simulate
from scoreinv.training.slices import rng_of

PHANTOMS = range(5)  # seeds; those of the training begin at a million


def main() -> None:
    views, *named = sys.argv[1:]
    folders = dict(item.split("=") for item in named) if named else {name: name for name in bundled_networks()}
    networks = {name: load_network(folder) for name, folder in folders.items()}
    methods = {"fdk": fdk, "sart": sart} | {
        name: lambda operator, y, network=network: reconstruct(network, operator, y)
        for name, network in networks.items()
    }
    rows = {name: [] for name in methods}
    settings = PhantomSettings()
    scan = settings.scan.model_copy(update={"views": int(views)})
    grid = Volume(settings.shape, settings.voxel_size)
    operator = ConeBeamCT(scan.geometry(), grid)
    for seed in PHANTOMS:
        truth = to_attenuation(body(seed, settings.shape, settings.voxel_size)).clamp(0, 0.04)
        projections = simulate(truth, grid, scan, rng_of(0, seed))
        for name, method in methods.items():
            begun = time.perf_counter()
            image = method(operator, projections).clamp(0, 0.04)
            rows[name].append((psnr(image, truth), ssim(image, truth), time.perf_counter() - begun))
    print(f"{views} views, {len(PHANTOMS)} phantoms, {torch.get_num_threads()} threads")
    print("| method | parameters | PSNR (dB) | worst | SSIM | seconds |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, values in rows.items():
        size = f"{sum(p.numel() for p in networks[name].parameters()):,}" if name in networks else ""
        (db, similarity, _), worst = np.mean(values, 0), min(value[0] for value in values)
        # The first call compiles and warms up.
        seconds = np.median([value[2] for value in values])
        print(f"| {name} | {size} | {db:.2f} | {worst:.2f} | {similarity:.3f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
