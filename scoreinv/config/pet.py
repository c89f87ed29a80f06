"""Settings of a PET run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from scoreinv import baselines
from scoreinv.config.sampling import BACKEND, Lesion, Name, RunSettings, Sampling
from scoreinv.training.settings import Section


class Phantom(Section):
    """A procedural patient after FDG."""

    region: Literal["head", "body"] = "head"
    seed: int = Field(2028, ge=0)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (24, 128, 128)
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field((3.0, 2.0, 2.0), description="(z, y, x) mm")
    lesion: Lesion | None = None


class Input(Section):
    """What to reconstruct: one of the files, or else the phantom."""

    list_mode: Path | None = Field(None, description="measured events of a Siemens Biograph mMR (.l)")
    sinogram: Path | None = Field(None, description="measured prompts, an Interfile sinogram of STIR (.hs)")
    background: Path | None = Field(None, description="expected randoms and scatter, in the same order as the sinogram")
    efficiencies: Path | None = Field(None, description="that multiply, in the same order as the sinogram")
    volume: Path | None = Field(None, description="activity (NIfTI or MHA), scanned in simulation")
    attenuation: Path | None = Field(None, description="mu-map in 1/mm (NIfTI or MHA), on the grid of the image")
    phantom: Phantom = Phantom()
    slices: tuple[NonNegativeInt, NonNegativeInt] | None = Field(
        None, description="first axial slice of the volume, and the one after the last; None takes all"
    )


class Scan(Section):
    """A simulated scan by rings that cover the volume."""

    counts: PositiveFloat = Field(10.0, description="true coincidences per mm^3 of tissue with activity")
    background: NonNegativeFloat = Field(1.0, description="randoms and scatter expected, as a share of the true ones")
    tof: float | None = Field(
        None, ge=10, le=2000, description="resolution in ps, full width at half maximum, such as 400; None for none"
    )
    seed: int = Field(1, ge=0)


class Lines(Section):
    """Which coincidences are used."""

    radial_bins: int | None = Field(None, ge=1, description="the central so many; None keeps all")
    max_ring_difference: int | None = Field(None, ge=0, description="None keeps all")
    span: PositiveInt = Field(1, description="odd number of ring differences that share planes")
    resolution_fwhm: PositiveFloat | None = Field(4.5, description="of the scanner's resolution, mm; None for none")
    histogram: bool = Field(False, description="sort list mode into a sinogram instead of going event by event")


class Grid(Section):
    """The volume to reconstruct from measured data, in the middle of the scanner."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(None, description="(z, y, x) mm")


class PETSampling(Sampling):
    """How the diffusion prior is used."""

    prior: str = Field("pet-128", description="bundled name or folder")


class PETSettings(RunSettings):
    """A PET scan reconstructed by several methods; the defaults, with each of `DEMO`, are the demo."""

    BASELINES = baselines.PET

    modality: Literal["pet"] = "pet"
    name: Name = "demo-pet"
    backend: Literal["auto", "numba", "streamed", "parallelproj"] = Field("auto", description=BACKEND)
    input: Input = Input()
    scan: Scan = Scan()
    lines: Lines = Lines()
    grid: Grid = Grid()
    methods: tuple[str, ...] = Field(("osem", "bsrem", "map-em"), min_length=1)
    sampling: PETSampling = PETSampling()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("list_mode", "sinogram", "volume") if getattr(self.input, name) is not None]
        if len(given) > 1:
            raise ValueError(f"input.{given[0]} and input.{given[1]} are both given; expected one")
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        source = self.input
        measured = source.list_mode is not None or source.sinogram is not None
        unused: dict[str, tuple[Section, tuple[str, ...]]] = {}
        of_events = ("histogram",) if source.list_mode is None else ()
        if measured:
            unused["scan"] = self.scan, tuple(Scan.model_fields)
            unused["input"] = source, ("slices",)
            for key in ("background", "efficiencies"):
                if source.list_mode is not None and getattr(source, key) is not None:
                    raise ValueError(
                        f"input.{key} is of a sinogram: of list mode randoms are taken from the delays, efficiencies "
                        "from the gaps between blocks; sort the events into a sinogram, or take ListModePET in Python"
                    )
            sorting = () if source.sinogram is None else ("radial_bins", "max_ring_difference", "span")
            unused["lines"] = self.lines, (*of_events, *sorting)
            why = "the input is measured, and its file knows the scan"
        else:
            unused["grid"] = self.grid, tuple(Grid.model_fields)
            # The phantom knows its own mu-map.
            own = ("attenuation",) if source.volume is None else ()
            unused["input"] = source, ("background", "efficiencies", *own)
            unused["lines"] = self.lines, of_events
            why = "the input is scanned in simulation"
        for name, (section, keys) in unused.items():
            for key in keys:
                if getattr(section, key) != type(section).model_fields[key].default:
                    raise ValueError(f"{name}.{key} has no effect: {why}; remove it")
        return self


def _demo(counts: float, tof: float | None) -> dict[str, Any]:
    name = f"demo-pet-{counts:g}" + ("-tof" if tof else "")
    scan, lines = {"counts": counts, "tof": tof}, {"max_ring_difference": 4, "span": 3}
    return {"modality": "pet", "name": name, "scan": scan, "lines": lines, "sampling": {"steps": 24}}


# What the demos set beyond the defaults: two levels of counts, without time of flight and with it.
DEMO = tuple(_demo(counts, tof) for tof in (None, 400.0) for counts in (2.5, 10.0))
