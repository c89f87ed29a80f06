"""Reconstructions of undersampled k-space, simulated of magnitudes: 8 coils, 1 % noise, maps found in the data.

    python tests/benchmarks/mri.py --volume head.nii.gz --slices 8 13 18 --phantoms 2028 2029 2030

prints a Markdown table of PSNR and SSIM of the magnitude, means over the images, per scan and method, and how DDS
depends on its conjugate gradients.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from scoreinv import load_prior, solve
from scoreinv.baselines import cg_sense, l1_wavelet, tv
from scoreinv.cases import load_case
from scoreinv.config import MRISettings, resolve
from scoreinv.metrics import psnr, ssim
from scoreinv.samplers import METHODS
from scoreinv.samplers.guidance import DDS

SCANS = [("poisson_disc", 4), ("poisson_disc", 8), ("equispaced", 4), ("radial", 4), ("radial", 8)]


def images(arguments):
    """Settings of `input`, one an image."""
    for z in arguments.slices if arguments.volume else []:
        yield {"volume": arguments.volume, "slices": [z]}
    for seed in arguments.phantoms:
        shape, size = [1, 192, 192], [5.0, 1.2, 1.2]
        yield {"phantom": {"seed": seed, "shape": shape, "voxel_size": size}}


def dds(case, prior, steps, iterations=None, method="dds-mean"):
    guidance = None if iterations is None else DDS(iterations=iterations)
    result = solve(
        case.operator,
        case.measurements,
        prior,
        likelihood=case.likelihood,
        method=method,
        guidance=guidance,
        steps=steps,
        progress=False,
    )
    return result.mean


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume")
    parser.add_argument("--slices", type=int, nargs="*", default=[8, 13, 18])
    parser.add_argument("--phantoms", type=int, nargs="*", default=[2028, 2029, 2030])
    parser.add_argument("--prior", default="mr-128")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--iterations", action="store_true", help="DDS with 5 and 10 conjugate gradients as well")
    arguments = parser.parse_args()
    prior = load_prior(arguments.prior)
    methods = {
        "cg_sense": lambda case: cg_sense(case.operator, case.measurements),
        "l1_wavelet": lambda case: l1_wavelet(case.operator, case.measurements, likelihood=case.likelihood),
        "tv": lambda case: tv(case.operator, case.measurements, likelihood=case.likelihood),
        "dds-mean": lambda case: dds(case, prior, arguments.steps),
    }
    if arguments.iterations:
        for n in (5, 10):
            methods[f"dds-mean, {n} CG"] = lambda case, n=n: dds(case, prior, arguments.steps, n)
    print(f"DDS preset: {METHODS['dds-mean'].guidance}\n")
    print("| scan | method | PSNR (dB) | SSIM | s |\n|---|---|---|---|---|")
    for sampling, acceleration in SCANS:
        scan = {"sampling": sampling, "acceleration": acceleration}
        cases = [load_case(resolve(MRISettings, {"input": source, "scan": scan})) for source in images(arguments)]
        for name, method in methods.items():
            rows = []
            for case in cases:
                begun = time.perf_counter()
                image = method(case)
                pair = image, case.reference, case.scale
                rows.append((psnr(*pair), ssim(*pair), time.perf_counter() - begun))
            means = np.mean(rows, 0)
            print(
                f"| {sampling}, x{acceleration} | {name} | {means[0]:.2f} | {means[1]:.3f} | {means[2]:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    with torch.no_grad():
        main()
