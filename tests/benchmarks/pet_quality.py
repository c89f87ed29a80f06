r"""PET from simulated scans: error, lesions, and bias against variance, for the best setting of each method.

    python tests/benchmarks/pet_quality.py --out phantoms.json
    python tests/benchmarks/pet_quality.py --volume activity.nii.gz --slices 244 256 --samples 4 --out slab.json
    python tests/benchmarks/pet_quality.py --volume activity.nii.gz --seeds 1 --samples 1 --ring-difference 1 \
        --passes 2 --strengths 12 --out whole.json
    python tests/benchmarks/pet_quality.py --spread

What stands in the file of `--out` already is not computed again, so that a run that was ended goes on.

Lesions, spheres of 10 to 16 mm of three times the activity around them, are added to every image, so that how much of
their contrast comes back can be measured. OSEM is taken at its best number of passes and BSREM at its best strength, by
mean PSNR over everything of one level of counts; of the sampler the mean of a few samples, by its preset and, with
`--slacks`, by others. Recovery is (lesion / surroundings - 1) / (true ratio - 1), surroundings a shell about the
lesion. Bias and variance are those of the lesions' mean and of the surroundings' voxels over ten noise realisations of
one image, at the middle level.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from scoreinv import load_prior, solve
from scoreinv.baselines import bsrem, osem
from scoreinv.cases import Case
from scoreinv.cases.pet import body_of_water, phantom, simulate
from scoreinv.config.pet import Lines, Phantom, Scan
from scoreinv.io import Image, read_image
from scoreinv.metrics import contrast_recovery, psnr, ssim
from scoreinv.priors import Prior
from scoreinv.samplers.guidance import Guidance
from scoreinv.samplers.presets import METHODS

LEVELS = (0.6, 2.5, 10.0)  # true coincidences per mm^3
SEEDS = (1, 2, 3)
PASSES = (1, 2, 3, 4, 6, 8)
STRENGTHS = (3.0, 6.0, 12.0, 24.0)
REALISATIONS = 10
TRIES = 10_000
SEEN = 5 / 2.355  # mm, standard deviation: lesions are as sharp as the images they are added to
RING_DIFFERENCE = 4
SAMPLER: dict[str, Any] = {"method": "map-em", "steps": 24, "progress": False}
SAMPLES = 2
Lesions = list[tuple[Tensor, Tensor]]


def with_lesions(activity: Tensor, voxel_size: tuple[float, float, float], seed: int) -> tuple[Tensor, Lesions]:
    """The activity with four lesions, and masks of each and of its surroundings."""
    rng = np.random.default_rng(seed)
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(activity.shape, voxel_size, strict=True)]
    grid = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32))
    inside = (activity > 0.3 * activity[activity > 0.05 * activity.max()].median()).nonzero().numpy()
    result, lesions, centres = activity.clone(), [], []
    for _ in range(TRIES):
        if len(lesions) == 4:
            return result, lesions
        place = inside[rng.integers(len(inside))]
        centre = np.array([axis[k] for axis, k in zip(axes, place, strict=True)])
        margin = [abs(c) + 16 < 0.5 * n * size for c, n, size in zip(centre, activity.shape, voxel_size, strict=True)]
        if not all(margin[1:]) or any(np.linalg.norm(centre - other) < 45 for other in centres):
            continue
        distance = (grid - torch.from_numpy(centre.astype(np.float32))[:, None, None, None]).norm(dim=0)
        radius = rng.uniform(5, 8)
        lesion, shell = distance < radius, (distance > radius + 4) & (distance < radius + 10)
        background = float(activity[shell].mean())
        if float((activity[shell] > 0.3 * background).float().mean()) < 0.95:
            continue
        soft = torch.from_numpy(
            gaussian_filter(lesion.numpy().astype(np.float32), [SEEN / size for size in voxel_size])
        )
        result += soft * (3 * background - result).clamp(min=0)
        lesions.append((lesion, shell))
        centres.append(centre)
    raise ValueError(f"no place for four lesions within {TRIES} tries; expected an image of more tissue")


def recovery(image: Tensor, truth: Tensor, lesions: Lesions) -> float:
    """Mean share of the lesions' contrast that came back."""
    return float(np.mean([contrast_recovery(image, truth, *masks) for masks in lesions]))


def subjects(volume: Path | None, slices: list[int] | None) -> Iterator[tuple[str, Image, Tensor, Lesions]]:
    """Name, activity with lesions, mu-map and lesions of everything that is scanned."""
    if volume is not None:
        image = read_image(volume)
        mu = body_of_water(image)
        part = slice(*slices) if slices else slice(None)
        activity, lesions = with_lesions(image.data[part].contiguous(), image.voxel_size, 0)
        yield volume.name, replace(image, data=activity), mu[part], lesions
        return
    for number in range(10):
        shape, size = ((8, 96, 96), (4.0, 2.5, 2.5)) if number % 2 == 0 else ((8, 112, 112), (4.0, 4.0, 4.0))
        region = "body" if number % 2 else "head"
        plain, mu = phantom(Phantom(region=region, seed=9000 + number, shape=shape, voxel_size=size))
        activity, lesions = with_lesions(plain, size, number)
        yield f"{region} {number}", Image(activity, size), mu, lesions


def lines(ring_difference: int = RING_DIFFERENCE) -> Lines:
    return Lines(max_ring_difference=ring_difference, span=3)


def reconstructions(
    case: Case, prior: Prior, args: argparse.Namespace, known_already: Container[str] = ()
) -> Iterator[tuple[str, Tensor, float]]:
    """Method with its setting, image and seconds, of the methods that are not known already."""

    def timed(make: Callable[[], Tensor]) -> tuple[Tensor, float]:
        begun = time.perf_counter()
        return make(), time.perf_counter() - begun

    known: dict[str, Any] = {"likelihood": case.likelihood}
    parts = case.operator, case.measurements
    methods: dict[str, Callable[[], Tensor]] = {
        f"osem {n}": partial(osem, *parts, iterations=n, **known) for n in args.passes
    }
    methods |= {f"bsrem {beta:g}": partial(bsrem, *parts, strength=beta, **known) for beta in args.strengths}

    def sampled(guidance: Guidance) -> Tensor:
        return solve(*parts, prior, guidance=guidance, samples=args.samples, **known, **SAMPLER).mean

    preset = METHODS["map-em"].guidance
    methods["map-em"] = partial(sampled, preset)
    methods |= {f"map-em, slack {s:g}": partial(sampled, replace(preset, slack=s)) for s in args.slacks}
    for name, method in methods.items():
        if name not in known_already:
            yield name, *timed(method)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a method, setting and scan."""
    prior, rows = load_prior(args.prior), json.loads(args.out.read_text()) if args.out.is_file() else []
    scanned = list(subjects(args.volume, args.slices))
    for seed, (name, activity, mu, lesions), counts in itertools.product(args.seeds, scanned, args.levels):
        case, truth = simulate(activity, mu, Scan(counts=counts, seed=seed), lines(args.ring_difference)), activity.data
        about = {"subject": name, "counts": counts, "seed": seed}
        done = {row["method"] for row in rows if row | about == row}
        for method, image, seconds in reconstructions(case, prior, args, done):
            row = about | {"method": method, "seconds": seconds}
            row |= {"psnr": psnr(image, truth, case.scale), "ssim": ssim(image, truth, case.scale)}
            rows.append(row | {"recovery": recovery(image, truth, lesions)})
            args.out.write_text(json.dumps(rows))
            print(name, counts, seed, method, f"{row['psnr']:.2f} dB, {rows[-1]['recovery']:.3f} recovered", flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The best setting of each method at each level, of those that were tried on every scan, as Markdown."""
    text = ["| counts | method | PSNR (dB) | SSIM | recovery | seconds |", "|---|---|---|---|---|---|"]
    for counts in sorted({row["counts"] for row in rows}):
        for family in ("osem", "bsrem", "map-em"):
            chosen: dict[str, list[dict[str, Any]]] = {}
            for row in rows:
                if row["counts"] == counts and row["method"].startswith(family):
                    chosen.setdefault(row["method"], []).append(row)
            if not chosen:
                continue
            everywhere = [method for method in chosen if len(chosen[method]) == max(map(len, chosen.values()))]
            best = max(everywhere, key=lambda method: np.mean([row["psnr"] for row in chosen[method]]))
            means = {
                key: np.mean([row[key] for row in chosen[best]]) for key in ("psnr", "ssim", "recovery", "seconds")
            }
            text.append(
                f"| {counts:g} | {best} | {means['psnr']:.2f} | {means['ssim']:.3f} | {means['recovery']:.2f} | "
                f"{means['seconds']:.1f} |"
            )
    return "\n".join(text)


def spread(args: argparse.Namespace) -> str:
    """Bias and standard deviation over noise realisations of the first subject, as shares of the truth."""
    prior = load_prior(args.prior)
    _, activity, mu, lesions = next(subjects(args.volume, args.slices))
    images: dict[str, list[Tensor]] = {}
    for seed in range(REALISATIONS):
        case = simulate(activity, mu, Scan(counts=LEVELS[1], seed=100 + seed), lines(args.ring_difference))
        for method, image, _ in reconstructions(case, prior, args):
            images.setdefault(method, []).append(image)
    text = ["| method | lesion bias | lesion std | background bias | background std |", "|---|---|---|---|---|"]
    for method, several in images.items():
        stack, truth = torch.stack(several), activity.data
        hot = [stack[:, lesion].mean(1) / truth[lesion].mean() for lesion, _ in lesions]
        cold = [stack[:, shell] / truth[shell].mean() for _, shell in lesions]
        cells = [
            np.mean([float(values.mean()) - 1 for values in hot]),
            np.mean([float(values.std()) for values in hot]),
            np.mean([float(values.mean()) - 1 for values in cold]),
            np.mean([float(values.std(0).mean()) for values in cold]),
        ]
        text.append(f"| {method} | " + " | ".join(f"{100 * cell:+.1f} %" for cell in cells) + " |")
    return "\n".join(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume", type=Path, help="activity (NIfTI) to scan in place of phantoms")
    parser.add_argument("--slices", type=int, nargs=2, help="first slice of the volume, and the one after the last")
    parser.add_argument("--prior", default="pet-128")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS)
    parser.add_argument("--passes", type=int, nargs="+", default=PASSES)
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--slacks", type=float, nargs="*", default=(), help="of map-em, beside its preset's")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--ring-difference", type=int, default=RING_DIFFERENCE)
    parser.add_argument("--spread", action="store_true", help="bias and variance instead")
    parser.add_argument("--out", type=Path, default=Path("pet_quality.json"))
    asked = parser.parse_args()
    print(spread(asked) if asked.spread else table(measure(asked)))
