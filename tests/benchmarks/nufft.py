"""Seconds and errors of non-Cartesian MRI beside mri-nufft, SigPy, torchkbnufft and BART, where they are installed.

    python tests/benchmarks/nufft.py [seconds for each comparison]

Errors, in the order of the packages, are relative to sums to 1e-12 in double precision. Every package is given coil
maps where it takes them and runs in complex64 in and out; mri-nufft runs with its own defaults and, to compare at equal
accuracy, in double precision as ours does inside. BART is a program: its seconds are those of a call, with the files
that it reads and writes, but without coil maps, which `bart nufft` does not take.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Row, raced, show
from torch import Tensor

from scoreinv._torchvision import declare_missing_operators
from scoreinv.io import read_cfl, write_cfl
from scoreinv.operators import NonCartesianMRI
from scoreinv.operators.trajectories import radial, spiral

Maps = dict[str, Callable[[], Any]]


def cases() -> dict[str, tuple[tuple[int, ...], int, Tensor]]:
    scattered = math.pi * (2 * torch.rand(200, 1000, 3, generator=torch.Generator().manual_seed(0)) - 1)
    return {
        "256^2, radial 64 x 512, 8 coils": ((256, 256), 8, radial(64, 512)),
        "320^2, spiral 16 x 6000, 8 coils": ((320, 320), 8, spiral(16, 6000, 10.0)),
        "96^3, 200,000 anywhere, 2 coils": ((96, 96, 96), 2, scattered),
    }


class Scan:
    """One case: data, and what exact sums make of them."""

    def __init__(self, shape: tuple[int, ...], coils: int, trajectory: Tensor) -> None:
        import finufft

        def random(*size: int) -> Tensor:
            return torch.randn(size, dtype=torch.complex64, generator=torch.Generator().manual_seed(len(size)))

        self.shape, self.coils, self.trajectory = shape, coils, trajectory
        self.maps, self.x = random(coils, *shape), random(*shape)
        self.y = random(coils, *trajectory.shape[:2])
        self.points = trajectory.flatten(0, 1)
        points = [np.ascontiguousarray(k) for k in self.points.double().numpy().T]
        plans = [finufft.Plan(kind, shape, coils, 1e-12, 3 - 2 * kind, "complex128") for kind in (2, 1)]
        for plan in plans:
            plan.setpts(*points)
        wide, scale = self.maps.numpy().astype(complex), 1 / math.sqrt(math.prod(shape))
        forward = scale * plans[0].execute(wide * self.x.numpy())
        adjoint = scale * (wide.conj() * plans[1].execute(self.y.flatten(1).numpy().astype(complex))).sum(0)
        normal = scale * (wide.conj() * plans[1].execute(forward)).sum(0)
        self.exact = {"forward": forward, "adjoint": adjoint, "normal": normal}

    def error(self, name: str, got: Any) -> float:
        """Relative error of the best multiple of the result, since every package has a scale of its own."""
        exact = self.exact[name].ravel()
        values = (got.numpy() if isinstance(got, Tensor) else np.asarray(got)).astype(complex).ravel()
        factor = np.vdot(values, exact) / np.vdot(values, values)
        return float(np.linalg.norm(factor * values - exact) / np.linalg.norm(exact))


def ours(scan: Scan) -> Maps:
    A = NonCartesianMRI(scan.trajectory, scan.shape, scan.maps)
    return {
        "forward": lambda: A.forward(scan.x),
        "adjoint": lambda: A.adjoint(scan.y),
        "normal": lambda: A.normal(scan.x),
    }


def mri_nufft(scan: Scan, double: bool = False) -> Maps:
    declare_missing_operators()  # it imports deepinv, and that torchvision, where they are installed
    from mrinufft import get_operator

    real, complex_ = (np.float64, np.complex128) if double else (np.float32, np.complex64)
    points, maps = scan.points.numpy().astype(real), scan.maps.numpy().astype(complex_)
    A = get_operator("finufft")(points, scan.shape, n_coils=scan.coils, n_trans=scan.coils, smaps=maps)
    x, y = scan.x.numpy(), scan.y.flatten(1).numpy()

    def forward() -> Any:
        return A.op(x.astype(complex_)).astype(np.complex64)

    def adjoint(y: Any = y) -> Any:
        return A.adj_op(y.astype(complex_)).astype(np.complex64)

    return {"forward": forward, "adjoint": adjoint, "normal": lambda: adjoint(forward())}


def mri_nufft_double(scan: Scan) -> Maps:
    return mri_nufft(scan, double=True)


def sigpy(scan: Scan) -> Maps:
    import sigpy.mri.linop

    # SigPy's coordinates run over the field of view: cycles per image.
    coordinates = scan.trajectory.numpy() * np.asarray(scan.shape, np.float32) / (2 * np.pi)
    A = sigpy.mri.linop.Sense(scan.maps.numpy(), coord=coordinates)
    x, y = scan.x.numpy(), scan.y.numpy()
    return {"forward": lambda: A * x, "adjoint": lambda: A.H * y, "normal": lambda: A.N * x}


def torchkbnufft(scan: Scan) -> Maps:
    import torchkbnufft

    k = scan.points.T.contiguous()
    A, AH = torchkbnufft.KbNufft(im_size=scan.shape), torchkbnufft.KbNufftAdjoint(im_size=scan.shape)
    toeplitz = torchkbnufft.ToepNufft()
    kernel = torchkbnufft.calc_toeplitz_kernel(k, im_size=scan.shape)
    x, y, maps = scan.x[None, None], scan.y.flatten(1)[None], scan.maps[None]
    return {
        "forward": lambda: A(x, k, smaps=maps),
        "adjoint": lambda: AH(y, k, smaps=maps),
        "normal": lambda: toeplitz(x, kernel, smaps=maps),
    }


def bart(scan: Scan) -> Maps:
    if shutil.which("bart") is None:
        raise ImportError("bart")
    kept = tempfile.TemporaryDirectory()  # as long as the closures below
    folder, dimensions = Path(kept.name), len(scan.shape)
    trajectory = torch.zeros(*scan.trajectory.shape[:2], 3, dtype=torch.complex64)
    trajectory[..., :dimensions] = (scan.trajectory * torch.tensor(scan.shape) / (2 * math.pi)).flip(-1)
    write_cfl(folder / "trajectory", trajectory)
    write_cfl(folder / "images", (scan.maps * scan.x).reshape(scan.coils, *(3 - dimensions) * [1], *scan.shape))
    write_cfl(folder / "samples", scan.y[..., None])

    def run(*options: str) -> Tensor:
        # -P: samples beside the border of k-space see those beyond it, as everywhere else.
        command = ["bart", "nufft", "-P", *options, "result"]
        subprocess.run(command, cwd=kept.name, check=True, capture_output=True)
        return read_cfl(folder / "result")

    size = ":".join(map(str, (*scan.shape[::-1], 1)[:3]))

    def adjoint() -> Tensor:
        images = run("-a", "-d", size, "trajectory", "samples")
        return (scan.maps.conj() * images.reshape(scan.maps.shape)).sum(0)

    return {"forward": lambda: run("trajectory", "images"), "adjoint": adjoint}


PEERS = {
    "ours": ours,
    "mri-nufft": mri_nufft,
    "mri-nufft, double": mri_nufft_double,
    "sigpy": sigpy,
    "torchkbnufft": torchkbnufft,
    "bart": bart,
}


def rows(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds of every package, and its relative error."""
    warnings.simplefilter("ignore")  # of the others
    for case, parameters in cases().items():
        scan = Scan(*parameters)
        built: dict[str, Maps] = {}
        for peer, build in PEERS.items():
            try:
                built[peer] = build(scan)
            except ImportError:
                skipped.append(peer)
        for name in ("forward", "adjoint", "normal"):
            tasks = {peer: maps[name] for peer, maps in built.items() if name in maps}
            errors = ", ".join(f"{scan.error(name, task()):.0e}" for task in tasks.values())
            yield raced(case, name, tasks, seconds) | {"errors": errors}


if __name__ == "__main__":
    show(rows, float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)
