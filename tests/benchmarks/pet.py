"""Seconds of the PET projector and its adjoint, beside parallelproj's where parallelproj 2 is installed.

    python tests/benchmarks/pet.py

An image of 32 x 128 x 128 voxels and 4.58 million lines, without and with 13 time-of-flight bins. Parallelproj's end
points are made beforehand and not counted. Values are compared where conventions agree: an image with an empty
border, and views that no line of 45 degrees, a tie of the driving axis, belongs to.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from timing import Row, raced, show

from scoreinv.operators import PET, TOF, PETScanner, Sinogram, Volume

VOLUME = Volume((32, 128, 128), (4.0, 3.0, 3.0))
# name: rings, radial bins, largest difference of rings, time of flight
CASES: dict[str, tuple[int, int, int, TOF | None]] = {
    "4.58 M lines": (9, 276, 4, None),
    "4.58 M lines, TOF 13": (9, 276, 4, TOF(13, 28.0, 60.0)),
}


def operator(rings: int, radial: int, reach: int, tof: TOF | None, backend: str) -> PET:
    positions = tuple(((np.arange(rings) - (rings - 1) / 2) * 108.0 / rings).tolist())
    scanner = PETScanner(330.0, 34, 16, 3.5, positions)
    return PET(scanner, VOLUME, tof=tof, backend=backend, sinogram=Sinogram(radial, reach))


def ours(A: PET, x: torch.Tensor, y: torch.Tensor) -> list[Callable[[], Any]]:
    return [lambda: A._transform.forward(x), lambda: A._transform.adjoint(y)]


def parallelproj(A: PET, x: torch.Tensor, y: torch.Tensor) -> list[Callable[[], Any]]:
    """The bare calls, on end points made beforehand."""
    import parallelproj_core as core

    transform: Any = A._transform
    ends = [chunk[1:] for chunk in transform._chunks(x.device)]
    starts, stops = (torch.cat([pair[side] for pair in ends], 1).contiguous() for side in (0, 1))
    grid, resolution = transform._grid(x.device), transform._resolution(x.device)
    forward, back = (
        (core.joseph3d_fwd, core.joseph3d_back)
        if A.tof is None
        else (core.joseph3d_tof_sino_fwd, core.joseph3d_tof_sino_back)
    )
    data, image = torch.empty_like(y), torch.zeros_like(x)
    return [
        lambda: forward(starts, stops, x, *grid, data, *resolution),
        lambda: back(starts, stops, image, *grid, y, *resolution),
    ]


def agreement(mine: PET, other: PET) -> float:
    """Largest difference of the projections over the largest value."""
    x = torch.zeros(VOLUME.shape)
    x[2:-2, 2:-2, 2:-2] = torch.rand(28, 124, 124, generator=torch.Generator().manual_seed(0))
    first, last = mine.lines.ends
    across = np.abs(last - first)
    straight = (np.abs(across[..., 0] - across[..., 1]) > 1e-3).all(axis=0)
    got, wanted = mine(x)[:, straight], other(x)[:, straight]
    return float((got - wanted).abs().max() / wanted.max())


def rows(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """Milliseconds of a projection and of its adjoint, and how far values are apart."""
    rival = importlib.util.find_spec("parallelproj_core") is not None
    if not rival:
        skipped.append("parallelproj")
    for name, case in CASES.items():
        mine = operator(*case, backend="numba")
        generator = torch.Generator().manual_seed(0)
        x, y = torch.rand(mine.in_shape, generator=generator), torch.rand(mine.out_shape, generator=generator)
        tasks, apart = [{"ours": task} for task in ours(mine, x, y)], {}
        if rival:
            other = operator(*case, backend="parallelproj")
            for pair, task in zip(tasks, parallelproj(other, x, y), strict=True):
                pair["parallelproj"] = task
            apart = {"largest difference": agreement(mine, other)}
        for direction, pair in zip(("forward", "adjoint"), tasks, strict=True):
            yield raced(name, direction, pair, seconds) | apart


if __name__ == "__main__":
    show(rows, 30.0)
