"""How time grows with slices, views, steps and processes, and memory with samples.

    python tests/benchmarks/growth.py

The exponent is the slope of log seconds over log size, by least squares, of the least wall seconds of some runs; 1 is
proportional. Of processes, which share the cases of a batch, they are seconds at work, and -1 is ideal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import batch
import numpy as np
import torch
from timing import Row, least, show

from scoreinv import load_prior, solve
from scoreinv.config import CTSettings, SampleSettings, resolve
from scoreinv.memory import PeakMemory
from scoreinv.metrics import to_attenuation
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, Volume
from scoreinv.phantoms import body
from scoreinv.sample import sample
from scoreinv.samplers.guidance import DDS

SIDE, NOISE = 96, 0.01
SLICES, VIEWS, STEPS, SAMPLES = (32, 64, 128, 256), (32, 64, 128, 256), (8, 16, 32, 64), (4, 8, 16)
PROCESSES = (1, 2)
AT_LEAST = 120.0  # seconds that the sizes of an axis are run in turns
ITERATIONS = 8  # of conjugate gradients in every step, since how many a scan needs depends on more than its size


def rows(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Exponents of time; `seconds` has no say, sizes are fixed."""
    prior = load_prior("ct-128")

    def solving(slices: int = 16, views: int = 24, steps: int = 8) -> Callable[[], object]:
        operator, data = scan(slices, views)
        parts = operator, data, prior
        how = {"guidance": DDS(iterations=ITERATIONS, tolerance=0.0), "steps": steps, "samples": 1, "progress": False}
        return lambda: solve(*parts, likelihood=Gaussian(NOISE), **how)

    def projecting(views: int) -> Callable[[], object]:
        operator, data = scan(64, views)
        return lambda: operator.adjoint(operator.forward(operator.adjoint(data)))

    yield exponent("solve, dds, 24 views, 8 steps", "slices", SLICES, [solving(slices=n) for n in SLICES])
    yield exponent("projections, 64 slices", "views", VIEWS, [projecting(n) for n in VIEWS])
    yield exponent("solve, dds, 16 slices, 24 views", "steps", STEPS, [solving(steps=n) for n in STEPS])
    yield processes()
    yield memory_of_samples()


def scan(slices: int, views: int) -> tuple[ConeBeamCT, torch.Tensor]:
    volume = Volume((slices, SIDE, SIDE), (3.0,) * 3)
    angles = 2 * np.pi * np.arange(views) / views
    geometry = ConeBeamGeometry.circular(800, 1200, (slices, SIDE + 32), (4.5, 4.5), angles)
    operator = ConeBeamCT(geometry, volume)
    truth = to_attenuation(body(2028, volume.shape, volume.voxel_size))
    return operator, Gaussian(NOISE).simulate(operator(truth), torch.Generator().manual_seed(0))


def exponent(case: str, axis: str, sizes: Sequence[int], tasks: Sequence[Callable[[], object]]) -> Row:
    spent = [wall for wall, _ in least(tasks, AT_LEAST)]
    return grown(case, axis, sizes, spent)


def grown(case: str, axis: str, sizes: Sequence[int], spent: Sequence[float]) -> Row:
    slope = float(np.polyfit(np.log(sizes), np.log(spent), 1)[0])
    measured = ", ".join(f"{size}: {seconds:.3g} s" for size, seconds in zip(sizes, spent, strict=True))
    return {"case": case, "grows with": axis, "measured": measured, "exponent": slope}


def processes() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        spent = [batch.of_ranks(number, Path(folder))[1] for number in PROCESSES]
    return grown(f"batch, {batch.CASES} cases of one thread", "processes", PROCESSES, spent)


def memory_of_samples() -> Row:
    """Of `scoreinv sample`, which keeps moments; the exponent 0 is flat."""
    run = {
        "input": {"phantom": {"shape": [16, SIDE, SIDE]}},
        "scan": {"views": 16},
        "methods": ["dds"],
        "sampling": {"steps": 2, "max_slices": 16},
    }
    held = []
    for number in (SAMPLES[0], *SAMPLES):  # the first warms up
        several = run | {"sampling": run["sampling"] | {"samples": number}}
        settings = resolve(SampleSettings, {"run": several, "keep": False})
        with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
            sample(settings, resolve(CTSettings, several), Path(folder), progress=False, say=lambda line: None)
        held.append(memory.mebibytes)
    measured = ", ".join(f"{number}: {mib:.0f} MiB" for number, mib in zip(SAMPLES, held[1:], strict=True))
    slope = float(np.polyfit(np.log(SAMPLES), np.log(np.maximum(held[1:], 1)), 1)[0])
    return {"case": "sample, 16 slices", "grows with": "samples", "measured": measured, "exponent": slope}


if __name__ == "__main__":
    show(rows, 0.0)
