"""How many samples suffice? Mean and spread of the first n against those of all, and what an interval pays for few.

python configs/uncertainty/how_many_samples.py
"""

import argparse

from scoreinv import load_prior, solve
from scoreinv.cases.ct import phantom, simulate
from scoreinv.config.ct import Phantom, Scan
from scoreinv.uncertainty import factor, patient

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--samples", type=int, default=32)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--views", type=int, default=16)
parser.add_argument("--size", type=int, default=64, help="pixels a side")
asked = parser.parse_args()

anatomy = Phantom(shape=(1, asked.size, asked.size), voxel_size=(3, 320 / asked.size, 320 / asked.size))
case = simulate(phantom(anatomy), anatomy.voxel_size, Scan(views=asked.views))
options = {"likelihood": case.likelihood, "samples": asked.samples, "steps": asked.steps}
result = solve(case.operator, case.measurements, load_prior("ct-128"), **options)
inside = patient(result.mean)

print("| samples | mean (HU) | spread | 90 % interval |")
print("|---------|-----------|--------|---------------|")
n = 2
while n <= asked.samples:
    some = result.samples[:n]
    mean = 50_000 * float((some.mean(0) - result.mean)[inside].square().mean().sqrt())
    spread = float(((some.std(0) - result.std)[inside].square().mean() / result.std[inside].square().mean()).sqrt())
    print(f"| {n:7} | {mean:9.1f} | {spread:6.0%} | {factor(0.9, n):6.2f} std    |")
    n *= 2
print(f"differences from the {asked.samples} samples, rms over the patient; a long run's interval is 1.64 std")
