"""Seconds of the cone-beam projector and its adjoint, beside RTK's Joseph projectors where itk-rtk is installed.

    python tests/benchmarks/projectors.py

Ours and RTK's runs alternate, and the least of several is kept, so that a busy machine disturbs both alike. Wall
seconds are what a user waits; processor seconds (summed over threads) compare more fairly on a shared machine. Memory
is the growth of the resident set beyond the adjoint's output, in volumes (Linux).
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scoreinv.operators import ConeBeamGeometry, Volume
from scoreinv.operators.cone_beam import ConeBeamCT

CASES = [(128, 128, 8), (128, 128, 64), (256, 256, 8)]  # voxels a side, pixels a side, views
SOURCE_TO_ISOCENTER, SOURCE_TO_DETECTOR = 800.0, 1200.0
IMAGE_SIDE, DETECTOR_SIDE = 256.0, 400.0  # mm
SECONDS_EACH = 20.0


def operator(voxels: int, pixels: int, views: int) -> ConeBeamCT:
    volume = Volume((voxels,) * 3, (IMAGE_SIDE / voxels,) * 3)
    geometry = ConeBeamGeometry.circular(
        SOURCE_TO_ISOCENTER,
        SOURCE_TO_DETECTOR,
        (pixels, pixels),
        (DETECTOR_SIDE / pixels,) * 2,
        2 * np.pi * np.arange(views) / views,
    )
    return ConeBeamCT(geometry, volume)


def ours(voxels: int, pixels: int, views: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    A = operator(voxels, pixels, views)
    x, y = torch.rand(A.in_shape), torch.rand(A.out_shape)
    return lambda: A.forward(x), lambda: A.adjoint(y)


def rtk_joseph(voxels: int, pixels: int, views: int) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """The same scan in RTK, or None where it is not installed."""
    try:
        import itk

        rtk = itk.RTK
    except (ImportError, AttributeError):
        return None
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())
    kind = itk.Image[itk.F, 3]

    def image(shape: tuple[int, int, int], spacing: tuple[float, float, float], fill: bool) -> Any:
        values = np.random.default_rng(0).random(shape, np.float32) if fill else np.zeros(shape, np.float32)
        result = itk.image_from_array(values)
        result.SetSpacing(spacing[::-1])
        result.SetOrigin([-(n - 1) / 2 * size for n, size in zip(shape[::-1], spacing[::-1], strict=True)])
        return result

    scan = rtk.ThreeDCircularProjectionGeometry.New()
    for view in range(views):
        scan.AddProjection(SOURCE_TO_ISOCENTER, SOURCE_TO_DETECTOR, 360.0 * view / views)
    voxel, pixel = (IMAGE_SIDE / voxels,) * 3, (1.0, DETECTOR_SIDE / pixels, DETECTOR_SIDE / pixels)
    filters = []
    for name, target, source in (
        ("JosephForwardProjectionImageFilter", ((views, pixels, pixels), pixel), ((voxels,) * 3, voxel)),
        ("JosephBackProjectionImageFilter", ((voxels,) * 3, voxel), ((views, pixels, pixels), pixel)),
    ):
        projector = getattr(rtk, name)[kind, kind].New()
        projector.SetGeometry(scan)
        projector.SetInput(0, image(*target, fill=False))
        projector.SetInput(1, image(*source, fill=True))
        projector.InPlaceOff()
        filters.append(projector)

    def run(projector: Any) -> Callable[[], None]:
        def update() -> None:
            projector.Modified()
            projector.Update()

        return update

    return run(filters[0]), run(filters[1])


def least(tasks: list[Callable[[], Any]]) -> list[tuple[float, float]]:
    """The least wall and processor seconds of each task, taken in turns."""
    for task in tasks:
        task()
    best = [(math.inf, math.inf)] * len(tasks)
    until = time.perf_counter() + SECONDS_EACH
    while time.perf_counter() < until:
        for index, task in enumerate(tasks):
            wall, cpu = time.perf_counter(), time.process_time()
            task()
            seconds = (time.perf_counter() - wall, time.process_time() - cpu)
            best[index] = (min(best[index][0], seconds[0]), min(best[index][1], seconds[1]))
    return best


def extra_memory(task: Callable[[], torch.Tensor]) -> float:
    """Resident memory at its peak beyond the output, in outputs; NaN where the system does not tell."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # gives freed memory back, or the output could lie in it unseen
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _status("VmRSS")
        output = task()
        return (_status("VmHWM") - before) * 1024 / output.nbytes - 1
    except (OSError, AttributeError):
        return math.nan


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    print(f"{torch.get_num_threads()} threads; wall seconds (processor seconds)")
    print(f"{'case':28}{'':10}{'ours':>18}{'RTK Joseph':>18}{'ratio':>16}{'extra memory':>15}")
    for case in CASES:
        mine, other = ours(*case), rtk_joseph(*case)
        for name, task, rival in zip(("forward", "adjoint"), mine, other or (None, None), strict=True):
            task()
            memory = extra_memory(task) if name == "adjoint" else math.nan
            times = least([task] if rival is None else [task, rival])
            print(f"{f'{case[0]}^3, {case[1]}^2 x {case[2]} views':28}{name:10}", end="")
            print("".join(f"{wall:9.3f} ({cpu:6.3f})" for wall, cpu in times), end="")
            if rival is not None:
                print(f"{times[0][0] / times[1][0]:7.2f} ({times[0][1] / times[1][1]:5.2f})", end="")
            print(f"{memory:9.2f} volumes" if memory == memory else "", flush=True)


if __name__ == "__main__":
    main()
