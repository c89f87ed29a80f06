"""Samplers beside those of deepinv: the same network, the same scan, as many steps.

    python tests/benchmarks/sampling_steps.py

`network` is the share of our time that the network's calls alone take; what remains is data step, noise and checks.
Memory is what a whole run holds above what the process held before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from timing import Row, least, raced, show

from scoreinv import load_prior, solve
from scoreinv.interop import import_deepinv, prior_to_deepinv, to_deepinv
from scoreinv.memory import PeakMemory
from scoreinv.metrics import to_attenuation
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, Volume
from scoreinv.phantoms import body

STEPS = 20
NOISE = 0.01  # of line integrals


def rows(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds a step."""
    prior = load_prior("ct-128")
    for side in (48, 128):
        volume = Volume((1, side, side), (3.0,) * 3)
        angles = torch.arange(24).double().numpy() * 2 * math.pi / 24
        geometry = ConeBeamGeometry.circular(800, 1200, (3, side), (4.5, 4.5), angles)
        operator, likelihood = ConeBeamCT(geometry, volume), Gaussian(NOISE)
        truth = to_attenuation(body(2028, volume.shape, volume.voxel_size))
        data = likelihood.simulate(operator(truth), torch.Generator().manual_seed(0))

        known = {"likelihood": likelihood, "coupling": None, "samples": 1, "steps": STEPS, "progress": False}
        ours = partial(solve, operator, data, prior, **known)
        tasks = {method: {"ours": partial(ours, method=method)} for method in ("dds", "diffpir", "dps")}
        try:
            dinv = import_deepinv()
        except ImportError:
            skipped.append("deepinv")
        else:
            physics, denoiser = to_deepinv(operator, likelihood), prior_to_deepinv(prior)
            fidelity = dinv.optim.data_fidelity.L2()
            theirs = dinv.sampling.DiffPIR(denoiser, fidelity, sigma=NOISE, max_iter=STEPS)
            tasks["diffpir"]["deepinv"] = partial(theirs, data[None, None], physics)
        images = torch.zeros(1, side, side)
        [(alone, _)] = least([partial(prior.denoise, images, 1.0)], seconds / 4)
        for method, race in tasks.items():
            row = raced(f"{side}^2, 24 views", method, race, seconds)
            each = {key: {who: spent / STEPS for who, spent in row[key].items()} for key in ("wall", "processor")}
            held = ", ".join(f"{who} {peak(task):.0f}" for who, task in race.items())
            yield row | each | {"network": 1e3 * alone / each["wall"]["ours"], "memory (MiB)": held}


def peak(task: Callable[[], object]) -> float:
    with PeakMemory() as memory:
        task()
    return memory.mebibytes


if __name__ == "__main__":
    show(rows, 10.0)
