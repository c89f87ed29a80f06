"""Seconds of the cone-beam projector and its adjoint, beside those Joseph projectors of others that are installed.

    python tests/benchmarks/projectors.py

These are RTK's (itk-rtk) and parallelproj's (parallelproj_core, whose threads OMP_NUM_THREADS sets); its end points are
made beforehand and not counted. Runs alternate, and the least of several is kept, so that a busy machine disturbs all
alike. Wall seconds are what a user waits; processor seconds (summed over threads) compare more fairly on a shared
machine. A ratio is ours over the other's. Memory is the growth of the resident set beyond the adjoint's output, in
volumes (Linux).
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


Tasks = tuple[Callable[[], Any], Callable[[], Any]]  # forward and adjoint


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


def ours(voxels: int, pixels: int, views: int) -> Tasks:
    A = operator(voxels, pixels, views)
    x, y = torch.rand(A.in_shape), torch.rand(A.out_shape)
    return lambda: A.forward(x), lambda: A.adjoint(y)


def parallelproj(voxels: int, pixels: int, views: int) -> Tasks | None:
    """The same rays in parallelproj, or None where it is not installed."""
    try:
        import parallelproj_core as core
    except ImportError:
        return None
    A = operator(voxels, pixels, views)
    segments = A.geometry.rays(A.volume).segments(slice(None))
    first, size = A.volume.first_voxel, A.volume.voxel_size
    starts, ends, *grid = (torch.as_tensor(values, dtype=torch.float32) for values in (*segments, first, size))
    x, y = torch.rand(A.in_shape), torch.rand(A.out_shape)
    data, image = torch.empty(A.out_shape), torch.zeros(A.in_shape)
    return (
        lambda: core.joseph3d_fwd(starts, ends, x, *grid, data),
        lambda: core.joseph3d_back(starts, ends, image, *grid, y),
    )


def rtk_joseph(voxels: int, pixels: int, views: int) -> Tasks | None:
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


PEERS: dict[str, Callable[[int, int, int], Tasks | None]] = {"RTK Joseph": rtk_joseph, "parallelproj": parallelproj}


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
    print(f"{'case':28}{'':10}{'ours':>18}", end="")
    print("".join(f"{name:>18}{'ratio':>16}" for name in PEERS) + f"{'extra memory':>15}")
    for case in CASES:
        mine = ours(*case)
        others = [make(*case) for make in PEERS.values()]
        for direction, name in enumerate(("forward", "adjoint")):
            mine[direction]()
            memory = extra_memory(mine[direction]) if name == "adjoint" else math.nan
            (wall, cpu), *times = least([mine[direction], *(other[direction] for other in others if other)])
            print(f"{f'{case[0]}^3, {case[1]}^2 x {case[2]} views':28}{name:10}{wall:9.3f} ({cpu:6.3f})", end="")
            for other in others:
                if other is None:
                    print(f"{'not installed':>18}{'':16}", end="")
                    continue
                their_wall, their_cpu = times.pop(0)
                print(f"{their_wall:9.3f} ({their_cpu:6.3f}){wall / their_wall:8.2f} ({cpu / their_cpu:5.2f})", end="")
            print(f"{memory:7.2f} volumes" if memory == memory else "", flush=True)


if __name__ == "__main__":
    main()
