"""Lesion or hallucination? One patient scanned with a lesion and without, by few views and by many.

python configs/uncertainty/lesion_or_hallucination.py

For the study over many patients, with ROC curves: scoreinv lesion configs/uncertainty/lesion.yaml
"""

import argparse

from scoreinv import load_prior, solve
from scoreinv.cases.ct import phantom, simulate
from scoreinv.config import Lesion
from scoreinv.config.ct import Phantom, Scan
from scoreinv.uncertainty import contrasts, estimate, split, worth

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--views", type=int, nargs="+", default=[6, 12, 48])
parser.add_argument("--samples", type=int, default=8)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--size", type=int, default=64, help="pixels a side")
asked = parser.parse_args()


def anatomy(present: bool) -> Phantom:
    lesion = Lesion(radius=12.0, contrast=80.0, seed=1, present=present)
    return Phantom(shape=(1, asked.size, asked.size), voxel_size=(3, 320 / asked.size, 320 / asked.size), lesion=lesion)


prior = load_prior("ct-128")
difference = phantom(anatomy(True)) - phantom(anatomy(False))
inside, around = difference > 40, difference == 0
near = (phantom(anatomy(False)) - phantom(anatomy(False))[inside].mean()).abs() < 40
around &= near  # the same tissue elsewhere
print("| views | lesion is  | contrast, 90 % interval (HU) | seen by the scanner |")
print("|-------|------------|------------------------------|---------------------|")
for views in asked.views:
    for present in (True, False):
        case = simulate(phantom(anatomy(present)), anatomy(present).voxel_size, Scan(views=views))
        known = {"likelihood": case.likelihood, "samples": asked.samples, "steps": asked.steps}
        result = solve(case.operator, case.measurements, prior, **known)
        found = estimate(50_000 * contrasts(result.samples, inside, around), 0.9)
        # Of the lesion itself: how much of it reaches the data at all.
        seen = float(split(case.operator, worth(case.likelihood, case.measurements), difference).share)
        words = "there" if present else "not there"
        interval = f"{found.mean:.0f} in [{found.low:.0f}, {found.high:.0f}]"
        print(f"| {views:5} | {words:10} | {interval:28} | {seen:19.0%} |")
