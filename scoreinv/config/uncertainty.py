"""Settings of what is asked about spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from scoreinv.config.sampling import Name
from scoreinv.training.settings import Section


class CalibrateSettings(Section):
    """Simulated cases that teach a method how wide its intervals must be, and others that test it."""

    format: Literal[1] = Field(1, description="of this file")
    name: Name = "calibration"
    run: dict[str, Any] = Field(description="of every case: a run of any modality, by one sampler, on phantoms")
    vary: tuple[str, ...] = Field(
        ("input.phantom.seed", "scan.seed", "sampling.seed"), min_length=1, description="keys of the run: case numbers"
    )
    first: NonNegativeInt = Field(10_000, description="number of the first case")
    calibration: int = Field(40, ge=2, description="cases to learn from")
    test: int = Field(40, ge=2, description="cases to test on")
    region: float = Field(0.1, gt=0, lt=1, description="voxels count above this share of the mean's 99.5th percentile")
    store: bool | None = Field(
        None,
        description="beside the prior, where later runs find it, or in the folder of results alone; None is beside the "
        "prior unless it is bundled, whose folder is the package's own",
    )


class Region(Section):
    """Where numbers are asked for: a mask, or a ball."""

    file: Path | None = Field(None, description="mask (NIfTI or MHA) on the grid of the results")
    label: int | None = Field(None, description="of the mask; None takes all but 0")
    centre: tuple[float, float, float] | None = Field(None, description="of a ball; world (S, P, L), mm")
    radius: PositiveFloat | None = Field(None, description="of a ball, mm")

    @model_validator(mode="after")
    def _one_kind(self) -> Region:
        ball = self.centre is not None and self.radius is not None
        if ball == (self.file is not None) or (self.centre is None) != (self.radius is None):
            raise ValueError("a region has either the file of a mask, or centre and radius of a ball")
        return self


class SampleSettings(Section):
    """Samples of one scan, and what is asked about them; numbers in the unit that the modality is read in."""

    format: Literal[1] = Field(1, description="of this file")
    name: Name = "samples"
    run: dict[str, Any] = Field(description="of the scan, by one sampler; sampling.samples of them")
    keep: bool = Field(True, description="every sample; quantiles need them, and so does asking anything else later")
    level: float = Field(0.9, gt=0, lt=1, description="of intervals")
    quantiles: tuple[float, ...] = Field((), description="maps of them, such as [0.05, 0.95]")
    thresholds: tuple[float, ...] = Field((), description="maps of the probability to be above them")
    regions: dict[Name, Region] = Field({}, description="where means are asked for, by name")
    contrasts: dict[Name, tuple[Name, Name]] = Field({}, description="mean of one region less that of another")
    null_space: int | None = Field(
        None,
        ge=1,
        description="iterations of conjugate gradients that tell what the scanner sees of every sample, and of the "
        "error where there is a truth; None leaves it out",
    )

    @model_validator(mode="after")
    def _answerable(self) -> SampleSettings:
        if self.quantiles and not self.keep:
            raise ValueError("quantiles are asked of samples that are not kept; expected keep: true")
        for name, pair in self.contrasts.items():
            for region in pair:
                if region not in self.regions:
                    raise ValueError(f"contrasts.{name}: no region {region!r}, expected one of {sorted(self.regions)}")
        return self


class LesionSettings(Section):
    """Patients scanned with a lesion and without it: do reconstructions show it, and do they invent one?"""

    format: Literal[1] = Field(1, description="of this file")
    name: Name = "lesion"
    runs: dict[Name, dict[str, Any]] = Field(
        min_length=1, description="scans of phantoms with input.phantom.lesion, by one sampler and any baselines"
    )
    vary: tuple[str, ...] = Field(
        ("input.phantom.seed", "input.phantom.lesion.seed", "scan.seed", "sampling.seed"),
        min_length=1,
        description="keys of the run: numbers of patients",
    )
    first: NonNegativeInt = Field(20_000, description="number of the first patient")
    patients: int = Field(20, ge=2)
