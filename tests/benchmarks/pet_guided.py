"""What an MR image of the same head is worth to PET: error of MAP-EM and of penalised likelihood, told and untold.

    python tests/benchmarks/pet_guided.py

Four of the heads of `pet_quality.py`, with its lesions, which MR does not show, at 0.6 and 2.5 counts per mm^3. The MR
image is T1-weighted, without noise, on the grid of the activity.
"""

from __future__ import annotations

import numpy as np
from pet_quality import SAMPLER, SAMPLES, lines, recovery, with_lesions

from scoreinv import load_prior, solve
from scoreinv.attenuation import attenuation
from scoreinv.baselines import bsrem
from scoreinv.cases.pet import simulate
from scoreinv.config.pet import Scan
from scoreinv.head import contrast, head
from scoreinv.io import Image
from scoreinv.metrics import psnr, ssim
from scoreinv.tracer import head_uptake

SHAPE, SIZE = (8, 96, 96), (4.0, 2.5, 2.5)
HEADS, LEVELS = (0, 2, 4, 6), (0.6, 2.5)
STRENGTH = 6.0


def main() -> None:
    prior = load_prior("pet-128")
    print("| counts | method | PSNR (dB) | SSIM | recovery |\n|---|---|---|---|---|")
    for counts in LEVELS:
        rows: dict[str, list[tuple[float, float, float]]] = {}
        for number in HEADS:
            tissues = head(9000 + number, SHAPE, SIZE)
            mr = contrast(tissues, "t1", 9000 + number)
            truth, lesions = with_lesions(head_uptake(tissues, 9000 + number), SIZE, number)
            case = simulate(Image(truth, SIZE), attenuation(tissues), Scan(counts=counts), lines())
            scan, known = (case.operator, case.measurements), {"likelihood": case.likelihood}
            images = {
                "bsrem": bsrem(*scan, strength=STRENGTH, **known),
                "bsrem, MR": bsrem(*scan, strength=STRENGTH, anatomy=mr, **known),
                "map-em": solve(*scan, prior, **known, **SAMPLER, samples=SAMPLES).mean,
                "map-em, MR": solve(*scan, prior.conditioned(mr), **known, **SAMPLER, samples=SAMPLES).mean,
            }
            for name, image in images.items():
                scores = psnr(image, truth, case.scale), ssim(image, truth, case.scale), recovery(image, truth, lesions)
                rows.setdefault(name, []).append(scores)
        for name, values in rows.items():
            db, similarity, recovered = np.mean(values, 0)
            print(f"| {counts:g} | {name} | {db:.2f} | {similarity:.3f} | {recovered:.2f} |", flush=True)


if __name__ == "__main__":
    main()
