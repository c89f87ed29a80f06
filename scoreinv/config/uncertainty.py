"""Settings of what is asked about spread."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeInt

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
    store: bool = Field(True, description="beside the prior, where later runs find it; else in the folder alone")
