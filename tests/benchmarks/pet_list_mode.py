"""Measured list mode, event by event and sorted into a sinogram: the same images?

    python tests/benchmarks/pet_list_mode.py ../shared/data/raw_pet/small_listmode_file.l --figure list_mode.png

Both reconstruct the same prompts with the same randoms, without subsets, so that nothing but rounding may differ.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from scoreinv import load_prior, solve
from scoreinv.baselines import osem
from scoreinv.cases import Case, load_case
from scoreinv.config import load_run
from scoreinv.report import figure
from scoreinv.samplers.guidance import MAPEM

CONFIG = Path(__file__).parents[2] / "configs/pet/measured.yaml"
STEPS, ITERATIONS = 6, 4


def reconstructions(case: Case) -> dict[str, Tensor]:
    """Images by method, and the seconds of each printed."""
    known = {"likelihood": case.likelihood}
    images = {}
    for name, make in (
        ("mlem", lambda: osem(case.operator, case.measurements, iterations=ITERATIONS, subsets=1, **known)),
        (
            "map-em",
            lambda: (
                solve(
                    case.operator,
                    case.measurements,
                    load_prior("pet-128"),
                    method="map-em",
                    guidance=MAPEM(2, subsets=1, slack=3.0),
                    steps=STEPS,
                    progress=False,
                    **known,
                ).mean
            ),
        ),
    ):
        begun = time.perf_counter()
        images[name] = make()
        print(f"  {name}: {time.perf_counter() - begun:.0f} s, {float(images[name].sum()):.6g} in all", flush=True)
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list_mode", type=Path)
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    cases = {
        name: load_case(
            load_run(CONFIG, [f"input.list_mode={asked.list_mode}", f"lines.histogram={str(sort).lower()}"])
        )
        for name, sort in (("events", False), ("sinogram", True))
    }
    images: dict[str, Tensor] = {}
    for name, case in cases.items():
        print(f"{name}: {case.operator}, {float(case.measurements.sum()):.0f} prompts")
        images |= {f"{method}, {name}": image for method, image in reconstructions(case).items()}
    for method in ("mlem", "map-em"):
        one, other = (images[f"{method}, {name}"] for name in cases)
        difference = torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other)
        print(f"{method}: events and sinogram differ by {float(difference):.2g} of the image (root mean square)")
    if asked.figure:
        case = cases["events"]
        figure(asked.figure, images, None, case.voxel_size, case.scale)


if __name__ == "__main__":
    main()
