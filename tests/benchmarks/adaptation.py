"""A prior that has seen phantoms only, on a patient: what it loses, and what adapting it to the scan gives back.

    scoreinv train configs/train/phantoms.yaml --out runs/phantoms
    python tests/benchmarks/adaptation.py runs/phantoms/prior scan_3mm.nii.gz --out docs/adaptation

24 cone-beam views of 1e5 photons of the middle 24 x 96 x 96 voxels of a CT, 20 steps of DDS with and without LoRA.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

from scoreinv import load_prior, solve
from scoreinv.baselines import tv
from scoreinv.io import read_image
from scoreinv.metrics import HOUNSFIELD, psnr, ssim, to_attenuation
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, TransmissionPoisson, Volume
from scoreinv.report import figure
from scoreinv.samplers import DDIM, schedules
from scoreinv.samplers.guidance import DDS, LoRA

SHAPE = (24, 96, 96)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior", type=Path)
    parser.add_argument("volume", type=Path, help="CT in HU")
    parser.add_argument("--out", type=Path, default=Path("adaptation"), help="stem of the table and the picture")
    arguments = parser.parse_args()
    image = read_image(arguments.volume)
    corner = [max(0, (n - m) // 2) for n, m in zip(image.data.shape, SHAPE, strict=True)]
    hu = image.data[tuple(slice(c, c + m) for c, m in zip(corner, SHAPE, strict=True))].float()
    truth = to_attenuation(hu.clamp(min=-1000))
    volume = Volume(tuple(truth.shape), image.voxel_size)
    angles = 2 * math.pi * np.arange(24) / 24
    pixel = (1.5 * image.voxel_size[0], 1.5 * image.voxel_size[2])
    operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (SHAPE[0] + 16, 144), pixel, angles), volume)
    counts = TransmissionPoisson(1e5).simulate(operator(truth), torch.Generator().manual_seed(0)).clamp(min=1)
    y, likelihood = -torch.log(counts / 1e5), Gaussian(counts.rsqrt())

    images, lines = {}, ["| method | PSNR | SSIM | s |", "|---|---|---|---|"]

    def report(name: str, make):
        begun = time.perf_counter()
        images[name] = make()
        quality = f"{psnr(images[name], truth):.2f} | {ssim(images[name], truth):.3f}"
        lines.append(f"| {name} | {quality} | {time.perf_counter() - begun:.0f} |")
        print(lines[-1], flush=True)

    def dds(prior, adapt=None):
        settings = {"schedule": schedules.edm(20, 1.0, 0.01), "stepper": DDIM(1.0, "dds"), "progress": False}
        return solve(operator, y, prior, likelihood=likelihood, guidance=DDS(15, adapt=adapt), **settings).mean

    report("TV", lambda: tv(operator, y, likelihood=likelihood))
    phantoms = load_prior(arguments.prior)
    report("phantoms only", lambda: dds(phantoms))
    report("phantoms, LoRA rank 4, 4 steps", lambda: dds(phantoms, LoRA()))
    report("phantoms, LoRA rank 8, 10 steps", lambda: dds(phantoms, LoRA(8, 10)))
    report("ct-128", lambda: dds(load_prior("ct-128")))
    arguments.out.with_suffix(".md").write_text("\n".join(lines) + "\n")
    figure(arguments.out.with_suffix(".png"), images, truth, image.voxel_size, HOUNSFIELD)


if __name__ == "__main__":
    main()
