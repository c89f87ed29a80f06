"""What a training run of DeepSparse needs to know."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from scoreinv.training.pair_source import PairSettings
from scoreinv.training.settings import Section


class DiCESettings(Section):
    """Arguments of `DiCE`; the defaults are the published configuration."""

    channels: int = Field(16, ge=1)
    scales: int = Field(4, ge=1)
    decoder: int = Field(128, ge=1)
    lattice: int = Field(32, ge=1)
    codes: int = Field(512, ge=1)
    hidden: tuple[PositiveInt, ...] = (128, 64, 16)

    def arguments(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class DeepSparseSettings(Section):
    """One stage of training; the defaults are the published ones, but for the number of steps."""

    model: Literal["deepsparse"] = "deepsparse"
    name: str = "deepsparse"
    description: str = ""
    stage: Literal["pretrain", "finetune1", "finetune2"]
    start: Path | None = Field(None, description="folder of the network to start from; finetune2 needs one")
    data: PairSettings
    network: DiCESettings = DiCESettings()
    views: tuple[PositiveInt, PositiveInt] = Field((6, 24), description="fewest and most views for points")
    all_views: int = Field(24, ge=1, description="views for the volume of features")
    points: int = Field(10_000, ge=1, description="of each volume, a step")
    batch: int = Field(1, ge=1, description="volumes a step")
    steps: int = Field(ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    checkpoint_every: int = Field(500, ge=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        few, many = self.views
        if not few <= many <= self.all_views:
            raise ValueError(f"views is {self.views}, expected fewest <= most <= all_views, {self.all_views}")
        if self.stage == "finetune2" and self.start is None:
            raise ValueError("stage finetune2 trains the denoising layers of a network; set start to its folder")
        candidates = self.data.phantoms.scan.views
        if self.data.phantoms.number and candidates < self.all_views:
            raise ValueError(f"data.phantoms.scan.views is {candidates}, expected at least all_views, {self.all_views}")
        return self
