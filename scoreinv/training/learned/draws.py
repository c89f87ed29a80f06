"""What training steps are made of, as pure functions of a generator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.baselines.deepsparse import spread
from scoreinv.baselines.learned.units import ATTENUATION
from scoreinv.operators import ConeBeamGeometry
from scoreinv.training.pairs import Pair

_STRIDE = 4  # of the sub-lattices of voxels: 64 of them, interleaved


def some_views(pair: Pair, positions: NDArray[np.float64]) -> tuple[ConeBeamGeometry, Tensor]:
    """Geometry and projections of the candidates at fractions of the arc, in [0, 1).

    Raises:
        ValueError: if the pair has fewer candidates.
    """
    candidates = pair.geometry.views
    if candidates < len(positions):
        raise ValueError(
            f"train: {pair.subject} has {candidates} views, expected at least {len(positions)}; prepare it with more "
            "candidates"
        )
    return pair.views(np.floor(positions * candidates).astype(np.int64) % candidates)


def even_views(rng: np.random.Generator, pair: Pair, views: int) -> tuple[ConeBeamGeometry, Tensor]:
    """Evenly spread views, turned by a random offset. Raises as `some_views`."""
    return some_views(pair, spread(views, float(rng.random())))


def some_voxels(rng: np.random.Generator, pair: Pair, number: int) -> tuple[Tensor, Tensor]:
    """Middles (number, 3) of voxels of one sub-lattice, mm, and their attenuation (number,), network units.

    None is drawn twice unless there are too few.
    """
    shape = pair.grid.shape
    begin = rng.integers(np.minimum(_STRIDE, shape))
    counts = [len(range(int(first), n, _STRIDE)) for first, n in zip(begin, shape, strict=True)]
    total = int(np.prod(counts))
    flat = rng.choice(total, size=number, replace=number > total)
    chosen = begin + _STRIDE * np.stack(np.unravel_index(flat, counts), -1)
    points = torch.from_numpy(pair.grid.first_voxel + chosen * pair.grid.voxel_size)
    return points, truth(pair)[tuple(chosen.T)]


def truth(pair: Pair) -> Tensor:
    """Attenuation (z, y, x) in network units, within 0 and 1."""
    return (pair.attenuation / ATTENUATION).clamp(0, 1)


def stacked(items: Iterable[tuple[Tensor, ...]], device: torch.device) -> list[Tensor]:
    """The tensors of several pairs, those of the same kind as one batch.

    Raises:
        ValueError: if pairs differ in the size of their detectors or volumes.
    """
    kinds = list(zip(*items, strict=True))
    for tensors in kinds:
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if len(shapes) > 1:
            raise ValueError(f"train: pairs of sizes {sorted(shapes)} in one batch, expected one size; set batch=1")
    return [torch.stack(tensors).to(device) for tensors in kinds]
