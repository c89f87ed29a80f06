"""The unrolled network, from whole volumes of cone-beam CT."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from scoreinv.baselines.learned import LearnedNetwork, Unrolled
from scoreinv.baselines.learned.units import ATTENUATION
from scoreinv.operators import ConeBeamCT
from scoreinv.training.learned.draws import even_views
from scoreinv.training.learned.settings import LearnedSettings
from scoreinv.training.pair_source import PairSource
from scoreinv.training.settings import Section


class UnrolledArguments(Section):
    """Arguments of `Unrolled`."""

    iterations: int = Field(5, ge=1)
    gradients: int = Field(5, ge=1)
    width: int = Field(32, ge=1)
    levels: int = Field(4, ge=1)


class UnrolledSettings(LearnedSettings):
    """Mean squared error of attenuation."""

    METHOD = "unrolled network: conjugate gradients and U-Nets on slices in turn"

    model: Literal["unrolled"] = "unrolled"
    name: str = "unrolled"
    network: UnrolledArguments = UnrolledArguments()

    def first_network(self) -> Unrolled:
        return Unrolled(**self.network.model_dump(mode="json"), scale=ATTENUATION)

    def loss(self, network: LearnedNetwork, source: PairSource, rng: np.random.Generator) -> Tensor:
        few, many = self.views
        losses = []
        for _ in range(self.batch):
            pair = source.draw(rng)
            geometry, projections = even_views(rng, pair, int(rng.integers(few, many + 1)))
            found = network(ConeBeamCT(geometry, pair.grid), projections.to(network.device))
            losses.append(functional.mse_loss(found / ATTENUATION, pair.attenuation.to(found.device) / ATTENUATION))
        return torch.stack(losses).mean()
