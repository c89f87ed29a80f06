"""What every training run of a learned reconstruction needs to know, and what each kind adds to it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from scoreinv.baselines.learned import LearnedNetwork
from scoreinv.training.pair_source import PairSettings, PairSource
from scoreinv.training.settings import Section


class LearnedSettings(Section):
    """Data and optimiser; a subclass for each kind of network makes the network and computes its loss."""

    METHOD: ClassVar[str]  # for the card

    model: str
    name: str
    description: str = ""
    licences: dict[str, str] = Field({}, description="of prepared cases by name or pattern, for the card")
    data: PairSettings
    views: tuple[PositiveInt, PositiveInt] = Field((6, 24), description="fewest and most that are shown at once")
    batch: int = Field(1, ge=1, description="volumes a step")
    steps: int = Field(ge=1)
    learning_rate: float = Field(1e-3, gt=0, description="of the first step; it falls to zero along a cosine")
    weight_decay: float = Field(1e-3, ge=0)
    checkpoint_every: int = Field(500, ge=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _enough_views(self) -> Self:
        few, many = self.views
        if few > many:
            raise ValueError(f"views is {self.views}, expected fewest <= most")
        candidates = self.data.phantoms.scan.views
        if self.data.phantoms.number and candidates < many:
            raise ValueError(f"data.phantoms.scan.views is {candidates}, expected at least the most of views, {many}")
        return self

    @abstractmethod
    def first_network(self) -> LearnedNetwork:
        """The network before its first step, weights from torch's generator."""

    @abstractmethod
    def loss(self, network: LearnedNetwork, source: PairSource, rng: np.random.Generator) -> Tensor:
        """Of one step's draw; what is drawn is a function of the generator alone.

        Raises:
            ValueError: if pairs of one step cannot be stacked, or one has fewer candidate views than are to be shown.
        """
