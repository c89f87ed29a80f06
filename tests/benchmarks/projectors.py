"""Milliseconds of the cone-beam projector and its adjoint, beside the projectors of others that are installed.

    python tests/benchmarks/projectors.py

These are RTK's Joseph (itk-rtk), parallelproj's (parallelproj_core, whose threads OMP_NUM_THREADS sets; its end points
are made beforehand and not counted) and one of torch's own: samples along every ray by grid_sample, a voxel apart, and
autograd for its adjoint. Memory is what a call holds beyond its output.

The bound is the time that the machine needs at least: image and data go through memory once, and 12 operations are done
for every crossing of a ray and a plane of voxels (two positions, their floors and fractions, three interpolations, a
sum), at the rates that a copy and a product of matrices reach on this machine. It leaves out the four loads of a
crossing, which come from everywhere in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from timing import CPU, Row, arithmetic, bandwidth, raced, show

from scoreinv.memory import MIB, PeakMemory
from scoreinv.operators import ConeBeamGeometry, Volume
from scoreinv.operators.cone_beam import ConeBeamCT

CASES = [(128, 128, 8), (128, 128, 64), (256, 256, 8), (256, 256, 64)]  # voxels a side, pixels a side, views
SOURCE_TO_ISOCENTER, SOURCE_TO_DETECTOR = 800.0, 1200.0
IMAGE_SIDE, DETECTOR_SIDE = 256.0, 400.0  # mm

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


def parallelproj(voxels: int, pixels: int, views: int, device: torch.device = CPU) -> Tasks | None:
    """The same rays in parallelproj, or None where it is not installed, or not for the device."""
    try:
        import parallelproj_core as core
    except ImportError:
        return None
    if device != CPU and not core.cuda_enabled:
        return None
    A = operator(voxels, pixels, views)
    segments = A.geometry.rays(A.volume).segments(slice(None))
    first, size = A.volume.first_voxel, A.volume.voxel_size
    numbers = (*segments, first, size)
    starts, ends, *grid = (torch.as_tensor(values, dtype=torch.float32, device=device) for values in numbers)
    x, y = torch.rand(A.in_shape, device=device), torch.rand(A.out_shape, device=device)
    data, image = torch.empty_like(y), torch.zeros_like(x)
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


def grid_sample(voxels: int, pixels: int, views: int) -> Tasks:
    """Sums of samples along every ray, a view at a time."""
    A = operator(voxels, pixels, views)
    step = IMAGE_SIDE / voxels
    reach = math.sqrt(3) / 2 * IMAGE_SIDE
    along = torch.arange(-reach, reach, step)
    x, y = torch.rand(A.in_shape), torch.rand(A.out_shape)
    rays = []
    for view in range(views):
        ends_of_rays = A.geometry.rays(A.volume).segments(slice(view, view + 1))
        starts, ends = (torch.as_tensor(points[0], dtype=torch.float32) for points in ends_of_rays)
        ways = torch.nn.functional.normalize(ends - starts, dim=-1)
        nearest = starts - (starts * ways).sum(-1, keepdim=True) * ways  # to the middle of the volume
        rays.append((nearest, ways))

    def projected(image: torch.Tensor, view: int) -> torch.Tensor:
        nearest, ways = rays[view]
        points = nearest[..., None, :] + along[:, None] * ways[..., None, :]
        places = (points * (2 / IMAGE_SIDE)).flip(-1)[None]
        samples = torch.nn.functional.grid_sample(image[None, None], places, align_corners=False)
        return step * samples.sum(-1)[0, 0]

    def adjoint() -> torch.Tensor:
        image = torch.zeros_like(x, requires_grad=True)
        # View by view, or autograd would keep the samples of all of them.
        for view in range(views):
            projected(image, view).backward(y[view])
        return torch.as_tensor(image.grad)

    return lambda: torch.stack([projected(x, view) for view in range(views)]), adjoint


def bound(A: ConeBeamCT, bytes_a_second: float, operations_a_second: float) -> float:
    """Seconds that a projection takes at least."""
    image = torch.ones(A.in_shape)
    starts, ends = A.geometry.rays(A.volume).segments(slice(None))
    ways = np.asarray(ends) - np.asarray(starts)
    driving = np.abs(ways).max(-1) / np.linalg.norm(ways, axis=-1)
    paths = A.forward(image).numpy()
    crossings = float((paths * driving).sum()) / A.volume.voxel_size[0]
    memory = image.nbytes + paths.nbytes
    return max(memory / bytes_a_second, 12 * crossings / operations_a_second)


PEERS: dict[str, Callable[[int, int, int], Tasks | None]] = {
    "RTK Joseph": rtk_joseph,
    "parallelproj": parallelproj,
    "grid_sample": grid_sample,
}


def rows(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds of a projection and of its adjoint, and the memory of ours beyond the output."""
    rates = bandwidth(), arithmetic()
    for case in CASES:
        voxels, pixels, views = case
        least_time = 1e3 * bound(operator(*case), *rates)
        built = {"ours": ours(*case)}
        for name, build in PEERS.items():
            tasks = build(*case)
            if tasks is None:
                skipped.append(name)
            else:
                built[name] = tasks
        for index, direction in enumerate(("forward", "adjoint")):
            race = {name: tasks[index] for name, tasks in built.items()}
            row = raced(f"{voxels}^3, {pixels}^2 x {views} views", direction, race, seconds)
            with PeakMemory() as memory:
                output = race["ours"]()
            share = least_time / row["wall"]["ours"]
            yield row | {
                "memory (MiB)": memory.mebibytes - output.nbytes / MIB,
                "bound (ms)": least_time,
                "share": share,
            }


if __name__ == "__main__":
    show(rows, 20.0)
