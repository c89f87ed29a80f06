"""FBPConvNet, from slices at random of FDK reconstructions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from scoreinv.baselines import fdk
from scoreinv.baselines.learned import FBPConvNet, LearnedNetwork
from scoreinv.baselines.learned.units import ATTENUATION
from scoreinv.operators import ConeBeamCT
from scoreinv.training.learned.draws import even_views, stacked, truth
from scoreinv.training.learned.settings import LearnedSettings
from scoreinv.training.pair_source import PairSource
from scoreinv.training.pairs import Pair
from scoreinv.training.settings import Section


class FBPConvNetArguments(Section):
    """Arguments of `FBPConvNet`."""

    width: int = Field(64, ge=1)
    levels: int = Field(5, ge=1)


class FBPConvNetSettings(LearnedSettings):
    """Mean squared error of attenuation."""

    METHOD = "FBPConvNet, a U-Net on slices of FDK"

    model: Literal["fbpconvnet"] = "fbpconvnet"
    name: str = "fbpconvnet"
    network: FBPConvNetArguments = FBPConvNetArguments()
    slices: int = Field(16, ge=1, description="of each volume, a step")

    def first_network(self) -> FBPConvNet:
        return FBPConvNet(**self.network.model_dump(mode="json"))

    def loss(self, network: LearnedNetwork, source: PairSource, rng: np.random.Generator) -> Tensor:
        items = [self._item(source.draw(rng), rng) for _ in range(self.batch)]
        streaky, clean = (slices.flatten(0, 1) for slices in stacked(items, network.device))
        return functional.mse_loss(network(streaky), clean)

    def _item(self, pair: Pair, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        few, many = self.views
        geometry, projections = even_views(rng, pair, int(rng.integers(few, many + 1)))
        streaky = fdk(ConeBeamCT(geometry, pair.grid), projections) / ATTENUATION
        chosen = torch.from_numpy(rng.integers(len(streaky), size=self.slices))
        return streaky[chosen], truth(pair)[chosen]
