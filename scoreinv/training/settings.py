"""What a training run needs to know; one section of the YAML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator


class Section(BaseModel):
    """Frozen; unknown keys, NaN and Inf are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    low, high = pair
    if not 0 < low <= high:
        raise ValueError("expected 0 < smallest <= largest")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_rising)]


class NetworkSettings(Section):
    """A diffusers `UNet2DModel` with attention at the lowest level."""

    channels: tuple[PositiveInt, ...] = Field((24, 48, 96, 128), min_length=1)
    layers_per_block: int = Field(1, ge=1)
    norm_groups: int = Field(8, ge=1)
    attention_head_dim: int = Field(32, ge=1)


class DataSettings(Section):
    """Volumes to cut axial training images from."""

    kind: Literal["ct", "mr", "pet"] = Field(
        "ct", description="ct: volumes in HU; mr: magnitudes of any unit; pet: uptake in any unit"
    )
    folder: Path | None = Field(None, description="folder of NIfTI or MHA volumes")
    files: tuple[str | tuple[str, ...], ...] = Field(
        (),
        description="names within the folder, those of one subject's contrasts in a list of their own; all volumes, "
        "each a subject, if empty",
    )
    phantoms: int = Field(0, ge=0, description="procedural anatomies beside them")
    phantom_share: float = Field(0.5, ge=0, le=1, description="probability of drawing a phantom where both exist")
    voxel_size: Range = Field((1.5, 3.0), description="smallest and largest pixel, mm")
    reference_dropout: float = Field(
        0.5, ge=0, le=1, description="probability of no reference, where the modality has references"
    )


class Phase(Section):
    """A stretch of training on crops of one size."""

    steps: int = Field(ge=1)
    crop: int = Field(ge=8)
    batch: int = Field(ge=1)


class TrainSettings(Section):
    """One training run: data, network, phases and optimiser."""

    name: str = "prior"
    description: str = ""
    licences: dict[str, str] = Field(
        {}, description="source and licence of the volumes by file name or pattern, for the card"
    )
    data: DataSettings
    network: NetworkSettings = NetworkSettings()
    phases: tuple[Phase, ...] = Field(min_length=1)
    learning_rate: float = Field(4e-4, gt=0)
    warmup: int = Field(200, ge=0, description="steps of rising learning rate; it ends in a cosine to zero")
    ema: float = Field(0.999, gt=0, lt=1, description="decay of the weights' moving average")
    data_std: float = Field(0.5, gt=0, description="of training images, network units")
    log_sigma: tuple[float, float] = Field((-1.2, 1.3), description="mean and spread of ln(sigma) in training")
    sigma_range: Range = (0.005, 20.0)
    precision: str = Field("auto", pattern="^(auto|fp32|bf16)$", description="auto: bf16 where the hardware has it")
    checkpoint_every: int = Field(500, ge=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _crops_fit_the_network(self) -> Self:
        multiple = 2 ** (len(self.network.channels) - 1)
        for phase in self.phases:
            if phase.crop % multiple:
                raise ValueError(
                    f"crop is {phase.crop}, expected a multiple of {multiple}: the network halves its images "
                    f"{len(self.network.channels) - 1} times"
                )
        return self
