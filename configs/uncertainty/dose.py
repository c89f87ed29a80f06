"""Dose against uncertainty: the same patient at several doses, the error made and the width that is claimed for it.

python configs/uncertainty/dose.py
"""

import argparse

from scoreinv import load_prior, solve
from scoreinv.cases.ct import phantom, simulate
from scoreinv.config.ct import Phantom, Scan
from scoreinv.metrics import psnr
from scoreinv.uncertainty import deviations, factor, misfit, patient

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--photons", type=float, nargs="+", default=[3e2, 1e3, 1e4, 1e5])
parser.add_argument("--samples", type=int, default=8)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--views", type=int, default=32)
parser.add_argument("--size", type=int, default=64, help="pixels a side")
asked = parser.parse_args()

anatomy = Phantom(shape=(1, asked.size, asked.size), voxel_size=(3, 320 / asked.size, 320 / asked.size))
prior, wide = load_prior("ct-128"), factor(0.9, asked.samples)
print("| photons a ray | PSNR (dB) | 90 % intervals (HU) | truth within | chi-square |")
print("|---------------|-----------|---------------------|--------------|------------|")
for photons in asked.photons:
    case = simulate(phantom(anatomy), anatomy.voxel_size, Scan(views=asked.views, photons=photons))
    known = {"likelihood": case.likelihood, "samples": asked.samples, "steps": asked.steps}
    result = solve(case.operator, case.measurements, prior, **known)
    inside = patient(result.mean)
    width = 50_000 * 2 * wide * float(result.std[inside].mean())
    within = float((deviations(case.reference, result.mean, result.std)[inside] <= wide).float().mean())
    fit = float(misfit(case.operator, case.measurements, case.likelihood, result.samples).chi_square.mean())
    quality = psnr(result.mean, case.reference, case.scale)
    print(f"| {photons:13g} | {quality:9.2f} | {width:19.0f} | {within:12.0%} | {fit:10.2f} |")
