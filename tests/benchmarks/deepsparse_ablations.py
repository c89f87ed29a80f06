"""What pretraining, the amount of target data and the denoising layers are worth to DeepSparse.

    python tests/benchmarks/deepsparse_ablations.py runs/deepsparse/pretrain/network --out runs/ablations

From scratch and from a pretrained network, with all and with a tenth of the target's bodies, both steps of finetuning
are run by their configurations (configs/deepsparse) and evaluated on bodies that none of them has seen: the network of
step 1, which decodes the codes of few views as they are, and that of step 2 with its denoising layers and without. What
is trained already is not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from timing import Row, markdown

from scoreinv.baselines.networks import load_network
from scoreinv.config import load_training
from scoreinv.metrics import to_attenuation
from scoreinv.operators import Volume
from scoreinv.phantoms import body
from scoreinv.training.learned import train_network
from scoreinv.training.learned.train import validate
from scoreinv.training.pair_source import PhantomSettings
from scoreinv.training.pairs import Pair
from scoreinv.training.scans import simulate

CONFIGS = Path(__file__).parents[2] / "configs" / "deepsparse"
BODIES = {"100 %": 100, "10 %": 10}
VIEWS = (6, 8, 10, 24)
FIRST = 100_000  # body of the target, beyond those of any pretraining
TESTED = range(100, 110)  # seeds of bodies; those of the training begin at a million


def finetuned(start: Path | None, bodies: int, steps: int, out: Path) -> tuple[Path, Path]:
    """Folders of the networks of step 1 and step 2."""
    before = start
    folders = []
    for stage in ("finetune1", "finetune2"):
        told = ["data.folder=null", f"data.phantoms.number={bodies}", f"data.phantoms.first={FIRST}", f"steps={steps}"]
        settings = load_training(CONFIGS / f"{stage}.yaml", [*told, f"start={before or 'null'}"])
        folder = out / stage
        if not (folder / "network").is_dir():
            train_network(settings, folder)
        before = folder / "network"
        folders.append(before)
    return folders[0], folders[1]


def scores(folder: Path, pairs: list[Pair], denoise: bool | None = None) -> dict[str, Any]:
    network = load_network(folder)
    if denoise is not None:
        network.configuration["denoise"] = denoise
    return {f"{views} views": f"{validate(network, pairs, views)[0]:.2f}" for views in VIEWS}


def held_out(seed: int) -> Pair:
    settings = PhantomSettings()
    attenuation = to_attenuation(body(seed, settings.shape, settings.voxel_size))
    grid = Volume(settings.shape, settings.voxel_size)
    projections = simulate(attenuation, grid, settings.scan, np.random.default_rng(seed))
    return Pair(attenuation, grid, settings.scan.geometry(), projections, f"body {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pretrained", type=Path, help="folder of a pretrained network")
    parser.add_argument("--steps", type=int, default=600, help="of each step of finetuning")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    args = parser.parse_args()
    pairs = [held_out(seed) for seed in TESTED]
    rows: list[Row] = [{"start": "pretrained, not finetuned"} | scores(args.pretrained, pairs)]
    for name, start in {"scratch": None, "pretrained": args.pretrained}.items():
        for share, bodies in BODIES.items():
            first, second = finetuned(start, bodies, args.steps, args.out / f"{name}-{bodies}")
            about = {"start": name, "target data": share}
            rows.append(about | {"network": "step 1"} | scores(first, pairs))
            rows.append(about | {"network": "step 2, not denoised"} | scores(second, pairs, denoise=False))
            rows.append(about | {"network": "step 2"} | scores(second, pairs))
    print(f"PSNR (dB), means of {TESTED} bodies, {args.steps} steps each")
    print(
        markdown(
            [{key: f"{v:.2f}" if isinstance(v, float | np.floating) else v for key, v in row.items()} for row in rows]
        )
    )


if __name__ == "__main__":
    main()
