"""Everything that is claimed of a GPU, measured in one call: projectors, PET, and reconstructions of a whole volume.

    python tests/benchmarks/gpu.py --out gpu.json

Data of ours and of parallelproj (where it is built for CUDA) stay on the device; TIGRE and ASTRA (where installed) and
our backend "streamed" take and give those of the host, and their transfers count. Agreement of whole runs with the CPU
is the test tests/scoreinv/test_gpu.py. The network of the size of ADM's at 256^2 (Dhariwal and Nichol 2021) has random
weights: its images mean nothing, its seconds are those of a trained one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nufft
import numpy as np
import pet
import projectors
import torch
from timing import Row, arithmetic, bandwidth, finished, least, machine, markdown, raced

from scoreinv import load_prior, solve
from scoreinv.interop import to_tigre
from scoreinv.io import atomic_path
from scoreinv.metrics import psnr, to_attenuation
from scoreinv.operators import PET, ConeBeamCT, ConeBeamGeometry, Gaussian, NonCartesianMRI, Rays, RayTransform, Volume
from scoreinv.operators.streamed import StreamedTransform
from scoreinv.operators.tigre_projector import import_tigre
from scoreinv.phantoms import body
from scoreinv.priors import NetworkPrior
from scoreinv.priors.architectures import build_network

CUDA = torch.device("cuda")
CONE_BEAM = (256, 256, 64)  # voxels a side, pixels a side, views
STREAMED, PIECE = (512, 512, 64), 1 << 24  # of one that is not resident, and numbers of its pieces: 64 MiB
VIEWS, STEPS, SIDE = 36, 50, 256
SLICES = 32  # in the network at once
NOISE = 0.01  # of line integrals
ADM_256: dict[str, Any] = {
    "sample_size": 256,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (256, 256, 512, 512, 1024, 1024),
    "down_block_types": ("DownBlock2D",) * 3 + ("AttnDownBlock2D",) * 3,
    "up_block_types": ("AttnUpBlock2D",) * 3 + ("UpBlock2D",) * 3,
    "layers_per_block": 2,
    "attention_head_dim": 64,
    "resnet_time_scale_shift": "scale_shift",
}


def cone_beam(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds of a projection and its adjoint."""
    A = projectors.operator(*CONE_BEAM)
    x, y = torch.rand(A.in_shape, device=CUDA), torch.rand(A.out_shape, device=CUDA)
    bound = 1e3 * projectors.bound(A, bandwidth(CUDA), arithmetic(CUDA))
    tasks: list[dict[str, Callable[[], Any]]] = [
        {"ours": finished(partial(A.forward, x))},
        {"ours": finished(partial(A.adjoint, y))},
    ]
    streamed = ConeBeamCT(A.geometry, A.volume, "streamed")
    peers = {
        "streamed": [partial(streamed.forward, x.cpu()), partial(streamed.adjoint, y.cpu())],
        "parallelproj": [finished(task) for task in projectors.parallelproj(*CONE_BEAM, CUDA) or ()],
        "TIGRE": _tigre(A, x, y),
        "ASTRA": _astra(A, x, y),
    }
    for name, pair in peers.items():
        if not pair:
            skipped.append(name)
        for race, task in zip(tasks, pair, strict=False):
            race[name] = task
    voxels, pixels, views = CONE_BEAM
    case = f"{voxels}^3, {pixels}^2 x {views} views"
    for direction, race in zip(("forward", "adjoint"), tasks, strict=True):
        row = raced(case, direction, race, seconds)
        yield row | {"bound (ms)": bound, "share": bound / row["wall"]["ours"]}


def overlap(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds of a scan that passes through the GPU in pieces, beside computing and transfers alone.

    Without overlap the first would be the sum of the others.
    """
    A = projectors.operator(*STREAMED)
    rays = A.geometry.rays(A.volume)
    streamed = StreamedTransform(partial(_part, rays), A.volume, A.out_shape, piece=PIECE)
    x, y = torch.rand(A.in_shape), torch.rand(A.out_shape)
    slabs, subsets = (-(-t.numel() // PIECE) for t in (x, y))
    locked = torch.empty(PIECE, pin_memory=True)
    [(wall, _)] = least([finished(lambda: locked.to(CUDA, non_blocking=True))], 0.5)
    voxels, pixels, views = STREAMED
    case = f"{voxels}^3, {pixels}^2 x {views} views, {slabs} slabs, {subsets} subsets"
    for direction, data, moved in (
        ("forward", x, subsets * x.numel() + y.numel()),
        ("adjoint", y, slabs * y.numel() + x.numel()),
    ):
        resident = data.to(CUDA)
        tasks = {
            "streamed": finished(partial(getattr(streamed, direction), data)),
            "computing alone": finished(partial(getattr(A, direction), resident)),
        }
        yield raced(case, direction, tasks, seconds) | {"transfers alone (ms)": 1e3 * wall * moved / PIECE}


def pet_lines(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds of the projections of PET and their adjoints."""
    for name, case in pet.CASES.items():
        mine = pet.operator(*case, backend="cuda")
        x, y = torch.rand(mine.in_shape, device=CUDA), torch.rand(mine.out_shape, device=CUDA)
        tasks = [{"ours": finished(task)} for task in pet.ours(mine, x, y)]
        if _has_parallelproj():
            other: PET = pet.operator(*case, backend="parallelproj")
            for race, task in zip(tasks, pet.parallelproj(other, x, y), strict=True):
                race["parallelproj"] = finished(task)
        else:
            skipped.append("parallelproj")
        for direction, race in zip(("forward", "adjoint"), tasks, strict=True):
            yield raced(name, direction, race, seconds)


def reconstructions(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Seconds, memory and error of a whole volume by DDS, with either network."""
    volume = Volume((SIDE,) * 3, (1.5,) * 3)
    angles = np.arange(VIEWS) * 2 * np.pi / VIEWS
    geometry = ConeBeamGeometry.circular(1000, 1500, (SIDE, SIDE), (2.4, 2.4), angles)
    operator, likelihood = ConeBeamCT(geometry, volume), Gaussian(NOISE)
    truth = to_attenuation(body(2028, volume.shape, volume.voxel_size))
    data = likelihood.simulate(operator(truth.to(CUDA)), torch.Generator(CUDA).manual_seed(0))
    trained = load_prior("ct-128").to(CUDA)
    network = build_network(ADM_256).to(CUDA, memory_format=torch.channels_last)
    large = NetworkPrior(network, multiple=32, intensity=trained.intensity, name="ADM 256, untrained")
    each = [(prior, how) for how in ("as it is", "compiled") for prior in (trained, large)]
    for prior, how in each:
        prior = prior.compiled() if how == "compiled" else prior
        solved = partial(solve, operator, data, prior, likelihood=likelihood, max_slices=SLICES, progress=False)
        finished(partial(solved, steps=1))()  # to warm up
        torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        mean = finished(partial(solved, steps=STEPS))().mean
        yield {
            "case": f"{SIDE}^3, {VIEWS} views, {STEPS} steps",
            "prior": f"{prior.name}, {how}",
            "seconds": time.perf_counter() - begun,
            "memory of the device (MiB)": torch.cuda.max_memory_allocated() / 2**20,
            "PSNR (dB)": psnr(mean.cpu(), truth),
        }


def _part(rays: Rays, slab: Volume, i: int, n: int) -> RayTransform:
    return RayTransform(rays, slab).subset(i, n)


def _has_parallelproj() -> bool:
    try:
        import parallelproj_core
    except ImportError:
        return False
    return bool(parallelproj_core.cuda_enabled)


def _tigre(A: ConeBeamCT, x: torch.Tensor, y: torch.Tensor) -> list[Callable[[], Any]]:
    """By its "interpolated" projector and its "matched" back-projection."""
    try:
        tigre = import_tigre("gpu.py", "make bench")
    except ImportError:
        return []
    scan = to_tigre(A.geometry, A.volume)
    back = partial(tigre.Atb, y.cpu().numpy(), *scan, backprojection_type="matched")
    return [partial(tigre.Ax, x.cpu().numpy(), *scan, projection_type="interpolated"), back]


def _astra(A: ConeBeamCT, x: torch.Tensor, y: torch.Tensor) -> list[Callable[[], Any]]:
    """By its texture projector and its voxel-driven back-projection, which is not the transpose."""
    try:
        import astra
    except ImportError:
        return []
    if not astra.use_cuda():
        return []
    g, (planes, rows, columns) = A.geometry, A.in_shape
    vectors = [part[:, ::-1] for part in (g.sources, g.detector_centers, g.u_steps, g.v_steps)]  # (x, y, z) there
    scan = astra.create_proj_geom("cone_vec", *g.detector_shape, np.concatenate(vectors, 1))
    sides = zip(A.volume.corners.min(0)[::-1], A.volume.corners.max(0)[::-1], strict=True)
    grid = astra.create_vol_geom(rows, columns, planes, *(float(end) for side in sides for end in side))
    image = astra.data3d.create("-vol", grid, x.cpu().numpy())
    data = astra.data3d.create("-sino", scan, np.ascontiguousarray(y.cpu().numpy().swapaxes(0, 1)))
    tasks = []
    for algorithm, target in (("FP3D_CUDA", "VolumeDataId"), ("BP3D_CUDA", "ReconstructionDataId")):
        asked = astra.astra_dict(algorithm) | {"ProjectionDataId": data, target: image}
        tasks.append(partial(astra.algorithm.run, astra.algorithm.create(asked)))
    return tasks


def tigre_agreement(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """TIGRE's values beside ours on a smooth image, and how far pairs of projector and adjoint are from transposes."""
    A = projectors.operator(*CONE_BEAM)
    x = to_attenuation(body(0, A.in_shape, A.volume.voxel_size)).to(CUDA)
    y = A.forward(x)
    pair = _tigre(A, x, y)
    if not pair:
        skipped.append("TIGRE")
        return
    forward, back = (torch.from_numpy(task()).to(CUDA).double() for task in pair)
    ours, adjoint = y.double(), A.adjoint(y).double()

    def mismatch(projected: torch.Tensor, spread: torch.Tensor) -> float:
        """|<A x, y> - <x, B y>| / (|A x| |y|)."""
        return float(abs((projected * ours).sum() - (x.double() * spread).sum()) / (projected.norm() * ours.norm()))

    yield {
        "relative difference of projections": float((forward - ours).norm() / ours.norm()),
        "mismatch, TIGRE's and TIGRE's adjoint": mismatch(forward, back),
        "mismatch, TIGRE's and our adjoint": mismatch(forward, adjoint),
        "mismatch, ours and our adjoint": mismatch(ours, adjoint),
    }


def k_space(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds of non-Cartesian MRI by either engine; `auto` takes the first that is installed."""
    for name, (shape, coils, trajectory) in nufft.cases().items():
        maps = torch.randn(coils, *shape, dtype=torch.complex64, device=CUDA)
        x = torch.randn(shape, dtype=torch.complex64, device=CUDA)
        races: list[dict[str, Callable[[], Any]]] = [{}, {}, {}]
        for backend in ("cufinufft", "torchkbnufft"):
            try:
                A = NonCartesianMRI(trajectory.to(CUDA), shape, maps, backend)
            except ImportError:
                skipped.append(backend)
                continue
            y = A.forward(x)
            tasks = partial(A.forward, x), partial(A.adjoint, y), partial(A.normal, x)
            for race, task in zip(races, tasks, strict=True):
                race[backend] = finished(task)
        for direction, race in zip(("forward", "adjoint", "normal"), races, strict=True):
            yield raced(name, direction, race, seconds)


SECTIONS = {
    "cone beam": cone_beam,
    "overlap": overlap,
    "TIGRE": tigre_agreement,
    "k-space": k_space,
    "PET": pet_lines,
    "reconstructions": reconstructions,
}


def _write(out: Path, found: dict[str, list[Row]], skipped: list[str]) -> None:
    with atomic_path(out) as temporary:
        temporary.write_text(json.dumps({"machine": machine(), "sections": found, "skipped": sorted(set(skipped))}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each race")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("gpu.py: torch finds no GPU; make bench measures what the CPU does")
    found: dict[str, list[Row]] = {}
    skipped: list[str] = []
    for name, rows in SECTIONS.items():
        found[name] = []
        try:
            for row in rows(args.seconds, skipped):
                found[name].append(row)
                _write(args.out, found, skipped)
        except RuntimeError as error:  # out of memory, or a compiler that is not there: the next section is another
            skipped.append(f"the rest of {name} ({str(error).splitlines()[0]})")
            _write(args.out, found, skipped)
        if found[name]:
            print(f"## {name}\n\n{markdown(found[name])}\n", flush=True)
    print("skipped:", ", ".join(sorted(set(skipped))) or "none")


if __name__ == "__main__":
    main()
