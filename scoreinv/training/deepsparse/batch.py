"""What one training step is made of, as a pure function of a generator."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from scoreinv.baselines.deepsparse import DiCE, hybrid_views
from scoreinv.baselines.deepsparse.sampling import cell_centers, shadows, within
from scoreinv.baselines.deepsparse.units import ATTENUATION, LINE_INTEGRAL
from scoreinv.training.deepsparse.settings import DeepSparseSettings
from scoreinv.training.pair_source import PairSource
from scoreinv.training.pairs import Pair

_STRIDE = 4  # of the sub-lattices of points: 64 of them, interleaved


@dataclass(frozen=True)
class Batch:
    """Network units; see `DiCE` and `scoreinv.baselines.deepsparse.sampling`.

    Attributes:
        projections: (batch, views, v, u).
        seen: (batch, views), True for the views whose features points are given.
        lattice: (batch, views, lattice^3, 2), shadows of the lattice.
        places: (batch, views, points, 2), shadows of the points.
        fractions: (batch, points, 3), points within the volume.
        truth: (batch, points), 0 to 1.
    """

    projections: Tensor
    seen: Tensor
    lattice: Tensor
    places: Tensor
    fractions: Tensor
    truth: Tensor

    def to(self, device: torch.device) -> Self:
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw_batch(source: PairSource, rng: np.random.Generator, settings: DeepSparseSettings, network: DiCE) -> Batch:
    """The batch of one step.

    Raises:
        ValueError: if pairs differ in their detectors, or one has fewer candidate views than a step takes.
    """
    items = [_item(source.draw(rng), rng, settings, network) for _ in range(settings.batch)]
    shapes = {tuple(item.projections.shape[1:]) for item in items}
    if len(shapes) > 1:
        raise ValueError(f"train: detectors of {sorted(shapes)} pixels in one batch, expected one size; set batch=1")
    points = min(len(item.truth) for item in items)
    columns = zip(*(_first(item, points) for item in items), strict=True)
    return Batch(*(torch.stack(column) for column in columns))


def _first(item: Batch, points: int) -> tuple[Tensor, ...]:
    """The fields of an item with as many points as the smallest of the batch has."""
    places, fractions, truth = item.places[:, :points], item.fractions[:points], item.truth[:points]
    return item.projections, item.seen, item.lattice, places, fractions, truth


def _item(pair: Pair, rng: np.random.Generator, settings: DeepSparseSettings, network: DiCE) -> Batch:
    candidates = pair.geometry.views
    if candidates < settings.all_views:
        raise ValueError(
            f"train: {pair.subject} has {candidates} views, expected at least all_views, {settings.all_views}; "
            "prepare it with more candidates"
        )
    few, many = settings.views
    shown, auxiliary = hybrid_views(rng, int(rng.integers(few, many + 1)), settings.all_views)
    indices = np.floor(np.concatenate([shown, auxiliary]) * candidates).astype(np.int64) % candidates
    geometry, projections = pair.views(indices)
    chosen = _points(rng, pair.grid.shape, settings.points)
    points = torch.from_numpy(pair.grid.first_voxel + chosen * pair.grid.voxel_size)
    return Batch(
        projections / LINE_INTEGRAL,
        torch.arange(settings.all_views) < len(shown),
        shadows(geometry, cell_centers(pair.grid, (network.lattice,) * 3), network.multiple),
        shadows(geometry, points, network.multiple),
        within(pair.grid, points),
        (pair.attenuation[tuple(chosen.T)] / ATTENUATION).clamp(0, 1),
    )


def _points(rng: np.random.Generator, shape: tuple[int, int, int], number: int) -> np.ndarray:
    """Voxels (points, 3), none twice, of one of the sub-lattices."""
    begin = rng.integers(np.minimum(_STRIDE, shape))
    counts = [len(range(int(first), n, _STRIDE)) for first, n in zip(begin, shape, strict=True)]
    total = int(np.prod(counts))
    flat = rng.choice(total, size=min(number, total), replace=False)
    return np.asarray(begin + _STRIDE * np.stack(np.unravel_index(flat, counts), -1))
