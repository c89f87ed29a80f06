"""Settings of an MRI run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from scoreinv import baselines
from scoreinv.config.sampling import Lesion, Name, RunSettings, Sampling
from scoreinv.training.settings import Section


class Phantom(Section):
    """A procedural head."""

    seed: int = Field(2028, ge=0)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (3, 192, 192)
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field((30.0, 1.2, 1.2), description="(z, y, x) mm")
    weighting: Literal["t1", "t2", "pd", "flair"] = "t2"
    lesion: Lesion | None = None


class Input(Section):
    """What to reconstruct: one of the files, or else the phantom."""

    k_space: Path | None = Field(None, description="measured data: ISMRMRD or fastMRI HDF5, BART .cfl, NumPy .npy")
    volume: Path | None = Field(None, description="magnitudes (NIfTI or MHA), scanned in simulation")
    phantom: Phantom = Phantom()
    slices: tuple[NonNegativeInt, ...] = Field((), description="axial slices of a volume or file; all if empty")
    hold_out: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the measured samples that no method sees, to compare predictions with; metrics give the "
        "relative error of theirs",
    )


class Scan(Section):
    """A simulated scan of every slice."""

    sampling: Literal["radial", "spiral", "poisson_disc", "equispaced", "random_lines"] = Field(
        "radial", description="radial spokes turn by the golden angle"
    )
    acceleration: float = Field(
        8.0, ge=1, description="lines of a full Cartesian scan over lines (or spokes, or interleaves) measured"
    )
    calibration: int = Field(24, ge=0, description="lines around the middle of Cartesian k-space that are all measured")
    coils: int = Field(8, ge=1)
    noise: float = Field(
        0.01,
        ge=0,
        description="standard deviation per real component of a sample, in terms of the image's 99.5th percentile",
    )
    seed: int = Field(1, ge=0)


class Coils(Section):
    """How sensitivities become known."""

    maps: Literal["espirit", "walsh", "true"] = Field("espirit", description="true: those of the simulation")
    calibration: int = Field(24, ge=6, description="lines around the middle of k-space to estimate them from, at most")
    compress: int | None = Field(None, ge=1, description="to so many virtual coils")


class MRISampling(Sampling):
    """How the diffusion prior is used."""

    prior: str = Field("mr-128", description="bundled name or folder")


class MRISettings(RunSettings):
    """An MR scan reconstructed by several methods; the defaults, with `DEMO`, are the demo."""

    BASELINES = baselines.MRI

    modality: Literal["mri"] = "mri"
    name: Name = "demo-mri"
    input: Input = Input()
    scan: Scan = Scan()
    coils: Coils = Coils()
    methods: tuple[str, ...] = Field(("zero_filled", "cg_sense", "l1_wavelet", "tv", "dds-mean"), min_length=1)
    sampling: MRISampling = MRISampling()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.input.k_space is not None and self.input.volume is not None:
            raise ValueError("input.k_space and input.volume are both given; expected one")
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        if self.input.k_space is None:
            return self
        if self.coils.maps == "true":
            raise ValueError("coils.maps is 'true': only simulated scans know them; expected 'espirit' or 'walsh'")
        for key in Scan.model_fields:
            if getattr(self.scan, key) != Scan.model_fields[key].default:
                raise ValueError(f"scan.{key} has no effect: the input is measured, its file knows the scan; remove it")
        return self


# What the demo sets beyond the defaults.
DEMO = {"modality": "mri", "sampling": {"steps": 30}}
