"""DIF-Net and its variant with mean pooling, from points at random in volumes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from scoreinv.baselines.learned import DIFNet, LearnedNetwork
from scoreinv.baselines.learned.points import shadows
from scoreinv.baselines.learned.units import LINE_INTEGRAL
from scoreinv.training.learned.draws import even_views, some_voxels, stacked
from scoreinv.training.learned.settings import LearnedSettings
from scoreinv.training.pair_source import PairSource
from scoreinv.training.pairs import Pair
from scoreinv.training.settings import Section


class DIFNetArguments(Section):
    """Arguments of `DIFNet`."""

    width: int = Field(64, ge=1)
    levels: int = Field(5, ge=1)
    features: int = Field(128, ge=1)
    hidden: tuple[PositiveInt, ...] = Field((256, 64, 16), min_length=1)
    pool: Literal["max", "mean"] = "max"


class DIFNetSettings(LearnedSettings):
    """Mean squared error of attenuation at points."""

    METHOD = "DIF-Net, attenuation from features of a few cone-beam views"

    model: Literal["dif_net"] = "dif_net"
    name: str = "dif_net"
    network: DIFNetArguments = DIFNetArguments()
    points: int = Field(10_000, ge=1, description="of each volume, a step")

    def first_network(self) -> DIFNet:
        return DIFNet(**self.network.model_dump(mode="json"))

    def loss(self, network: LearnedNetwork, source: PairSource, rng: np.random.Generator) -> Tensor:
        assert isinstance(network, DIFNet)
        few, many = self.views
        views = int(rng.integers(few, many + 1))
        items = [self._item(source.draw(rng), rng, views) for _ in range(self.batch)]
        projections, places, truth = stacked(items, network.device)
        return functional.mse_loss(network.at_points(network.encode(projections), places), truth)

    def _item(self, pair: Pair, rng: np.random.Generator, views: int) -> tuple[Tensor, Tensor, Tensor]:
        geometry, projections = even_views(rng, pair, views)
        points, truth = some_voxels(rng, pair, self.points)
        return projections / LINE_INTEGRAL, shadows(geometry, points), truth
