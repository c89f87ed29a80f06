"""Settings of a CT run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from scoreinv import baselines
from scoreinv.config.sampling import BACKEND, Lesion, Name, RunSettings, Sampling
from scoreinv.training.settings import Section


class Phantom(Section):
    """A procedural anatomy."""

    seed: int = Field(2028, ge=0)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (48, 128, 128)
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field((3.0, 3.0, 3.0), description="(z, y, x) mm")
    lesion: Lesion | None = None


class Input(Section):
    """What to reconstruct: one of the files, or else the phantom."""

    volume: Path | None = Field(None, description="CT in HU (NIfTI, MHA, or a folder of DICOM), scanned in simulation")
    projections: Path | None = Field(
        None, description="HDF5 file of measured projections and their geometry, or RTK's stack of them (MHA)"
    )
    geometry: Path | None = Field(None, description="RTK's geometry (XML) of a stack of projections")
    data_exchange: Path | None = Field(None, description="DataExchange HDF5 file of a parallel-beam scan")
    phantom: Phantom = Phantom()
    pixel_size: float = Field(1.0, gt=0, description="of a DataExchange file, which knows none, mm")
    bin: int = Field(1, ge=1, description="average so many detector columns")
    every: int = Field(1, ge=1, description="use every n-th view; all of them make the reference")

    @model_validator(mode="after")
    def _one_source(self) -> Input:
        given = [name for name in ("volume", "projections", "data_exchange") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given; expected one")
        stack = self.projections is not None and self.projections.suffix.lower() == ".mha"
        if stack and self.geometry is None:
            raise ValueError(f"projections is {self.projections}, an MHA stack without a geometry; give RTK's XML file")
        if self.geometry is not None and not stack:
            raise ValueError(
                f"geometry is {self.geometry} and projections {self.projections}; expected the MHA stack (.mha) that "
                "the geometry is of, or no geometry beside other input"
            )
        return self


class Scan(Section):
    """A simulated circular cone-beam scan."""

    source_to_isocenter: float = Field(800.0, gt=0, description="mm")
    source_to_detector: float = Field(1200.0, gt=0, description="mm")
    views: int = Field(24, ge=1)
    arc: float = Field(360.0, gt=0, le=360, description="degrees")
    detector_shape: tuple[PositiveInt, PositiveInt] | None = Field(None, description="(v, u); None covers the volume")
    pixel_size: tuple[PositiveFloat, PositiveFloat] | None = Field(
        None, description="(v, u) mm; None is a voxel magnified"
    )
    detector_offset: tuple[float, float] = Field(
        (0.0, 0.0),
        description="(v, u) mm; almost half a detector along u makes a half-fan scan, over a full turn",
    )
    photons: float | None = Field(1e5, gt=0, description="per pixel before the patient; None adds no noise")
    seed: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _offset_detector_has_a_size(self) -> Self:
        if self.detector_shape is None and any(self.detector_offset):
            raise ValueError(
                f"detector_offset is {self.detector_offset}, but detector_shape is null, a detector about the middle; "
                "give the shape of the offset detector"
            )
        return self


class Grid(Section):
    """The volume to reconstruct. From a file of projections None covers what every view sees; a CT volume is resampled
    about its middle before it is scanned, and None leaves what it has."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(None, description="(z, y, x) mm")


class CTSampling(Sampling):
    """How the diffusion prior is used."""

    prior: str = Field("ct-128", description="bundled name or folder")


class CTSettings(RunSettings):
    """A CT scan reconstructed by several methods; the defaults, with `DEMO`, are the demo."""

    BASELINES = baselines.CT

    modality: Literal["cbct"] = "cbct"
    name: Name = "demo"
    backend: Literal["auto", "numba", "streamed", "parallelproj", "tigre"] = Field("auto", description=BACKEND)
    input: Input = Input()
    scan: Scan = Scan()
    grid: Grid = Grid()
    methods: tuple[str, ...] = Field(("fdk", "sart", "tv", "dds"), min_length=1)
    sampling: CTSampling = CTSampling()

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        source = self.input
        if source.projections is None and source.data_exchange is None:
            unused: dict[str, tuple[Section, Iterable[str]]] = {"input": (source, ("every", "bin", "pixel_size"))}
            if source.volume is None:
                unused["grid"] = (self.grid, Grid.model_fields)
            why = "the input is scanned in simulation; only measured projections have it"
        else:
            unused = {"scan": (self.scan, Scan.model_fields)}
            if source.data_exchange is None:
                unused["input"] = (source, ("pixel_size",))
            why = "the input is measured, and its file knows the scan"
        for name, (section, keys) in unused.items():
            for key in keys:
                # Not whether it was given: the resolved settings of a run name every key, and run again.
                if getattr(section, key) != type(section).model_fields[key].default:
                    raise ValueError(f"{name}.{key} has no effect: {why}; remove it")
        return self


# What the demo sets beyond the defaults: what does best for DDS on few views, in few steps.
DEMO = {"sampling": {"steps": 24, "sigma_max": 1.0, "split": "dds", "iterations": 20, "axes": "auto"}}
