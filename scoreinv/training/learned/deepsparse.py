"""DeepSparse, one of its three stages a run.

Pretraining and the first step of finetuning learn everything from n views for points and 24 for the volume of features.
The second step gives the volume n views only: encoder and codebooks stay as they are, batch statistics too (the
released code forgets those), and the denoising layers learn to make of the codes of few views those of many.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor
from torch.nn import functional

from scoreinv.baselines.deepsparse import DiCE, hybrid_views
from scoreinv.baselines.learned import LearnedNetwork
from scoreinv.baselines.learned.points import cell_centers, shadows, within
from scoreinv.baselines.learned.units import LINE_INTEGRAL
from scoreinv.baselines.networks import check_configuration, load_network
from scoreinv.training.learned.draws import some_views, some_voxels, stacked
from scoreinv.training.learned.settings import LearnedSettings
from scoreinv.training.pair_source import PairSource
from scoreinv.training.pairs import Pair
from scoreinv.training.settings import Section

_VQ_WEIGHT, _DENOISING_WEIGHT = 0.1, 1.0


class DiCEArguments(Section):
    """Arguments of `DiCE`; the defaults are the published configuration."""

    channels: int = Field(16, ge=1)
    scales: int = Field(4, ge=1)
    decoder: int = Field(128, ge=1)
    lattice: int = Field(32, ge=1)
    codes: int = Field(512, ge=1)
    hidden: tuple[PositiveInt, ...] = (128, 64, 16)


class DeepSparseSettings(LearnedSettings):
    """One stage of training; the defaults are the published ones, but for the number of steps."""

    METHOD = "DeepSparse (DiCE), attenuation from a few cone-beam views"

    model: Literal["deepsparse"] = "deepsparse"
    name: str = "deepsparse"
    stage: Literal["pretrain", "finetune1", "finetune2"]
    start: Path | None = Field(None, description="folder of the network to start from; finetune2 needs one")
    network: DiCEArguments = DiCEArguments()
    all_views: int = Field(24, ge=1, description="views for the volume of features; `views` are those for points")
    points: int = Field(10_000, ge=1, description="of each volume, a step")
    learning_rate: float = Field(1e-4, gt=0, description="of the first step; it falls to zero along a cosine")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.views[1] > self.all_views:
            raise ValueError(f"views is {self.views}, expected at most all_views, {self.all_views}")
        if self.stage == "finetune2" and self.start is None:
            raise ValueError("stage finetune2 trains the denoising layers of a network; set start to its folder")
        candidates = self.data.phantoms.scan.views
        if self.data.phantoms.number and candidates < self.all_views:
            raise ValueError(f"data.phantoms.scan.views is {candidates}, expected at least all_views, {self.all_views}")
        return self

    def first_network(self) -> DiCE:
        """As it is at the start, frozen where the stage freezes it."""
        arguments: dict[str, Any] = self.network.model_dump(mode="json")
        network = DiCE(**arguments, denoise=self.stage == "finetune2")
        if self.start is not None:
            before = load_network(self.start)
            check_configuration(before, DiCE.kind, arguments, f"train: start {self.start}")
            network.load_state_dict(before.state_dict())
        if self.stage == "finetune2":
            network.freeze_encoder()
        return network

    def loss(self, network: LearnedNetwork, source: PairSource, rng: np.random.Generator) -> Tensor:
        assert isinstance(network, DiCE)
        return stage_loss(network, draw_batch(source, rng, self, network), self.stage)


@dataclass(frozen=True)
class Batch:
    """Network units; see `DiCE` and `scoreinv.baselines.learned.points`.

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


def draw_batch(source: PairSource, rng: np.random.Generator, settings: DeepSparseSettings, network: DiCE) -> Batch:
    """The batch of one step. Raises as `LearnedSettings.loss`."""
    items = [_item(source.draw(rng), rng, settings, network) for _ in range(settings.batch)]
    return Batch(*stacked(items, network.device))


def _item(pair: Pair, rng: np.random.Generator, settings: DeepSparseSettings, network: DiCE) -> tuple[Tensor, ...]:
    """What `Batch` has of one pair."""
    few, many = settings.views
    shown, auxiliary = hybrid_views(rng, int(rng.integers(few, many + 1)), settings.all_views)
    geometry, projections = some_views(pair, np.concatenate([shown, auxiliary]))
    points, truth = some_voxels(rng, pair, settings.points)
    return (
        projections / LINE_INTEGRAL,
        torch.arange(settings.all_views) < len(shown),
        shadows(geometry, cell_centers(pair.grid, (network.lattice,) * 3), network.multiple),
        shadows(geometry, points, network.multiple),
        within(pair.grid, points),
        truth,
    )


def stage_loss(network: DiCE, batch: Batch, stage: str) -> Tensor:
    """Mean squared error of attenuation, and what the stage adds to it."""
    maps = network.encode(batch.projections)
    if stage == "finetune2":
        with torch.no_grad():
            dense, _ = network.quantise(network.lift(maps, batch.lattice))
            sparse, _ = network.quantise(network.lift(maps, batch.lattice, batch.seen))
        quantised = network.denoised(sparse)
        gaps = [functional.l1_loss(mended, whole) for mended, whole in zip(quantised, dense, strict=True)]
        extra = _DENOISING_WEIGHT * torch.stack(gaps).mean()
    else:
        quantised, commitment = network.quantise(network.lift(maps, batch.lattice))
        extra = _VQ_WEIGHT * commitment
    found = network.at_points(maps, network.decode(quantised), batch.fractions, batch.places, batch.seen)
    return functional.mse_loss(found, batch.truth) + extra
