"""Configurations: YAML -> validated, frozen settings. Unknown keys are errors that name the nearest known one.

Any value can be set on the command line by its path, `--set scan.views=48`; values are YAML. The resolved settings are
saved beside every result and can be run again.
"""

from __future__ import annotations

import copy
import difflib
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from scoreinv import baselines
from scoreinv.samplers import METHODS
from scoreinv.training.settings import Section

Settings = TypeVar("Settings", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message says which key, what was expected and what was got."""


class Phantom(Section):
    """A procedural anatomy."""

    seed: int = Field(2028, ge=0)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (48, 128, 128)
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field((3.0, 3.0, 3.0), description="(z, y, x) mm")


class Input(Section):
    """What to reconstruct: one of the files, or else the phantom."""

    volume: Path | None = Field(None, description="CT in HU (NIfTI or MHA), scanned in simulation")
    projections: Path | None = Field(None, description="HDF5 file of measured projections and their geometry")
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
    photons: float | None = Field(1e5, gt=0, description="per pixel before the patient; None adds no noise")
    seed: int = Field(1, ge=0)


class Grid(Section):
    """The volume to reconstruct from a file of projections; None covers what every view sees."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(None, description="(z, y, x) mm")


class Sampling(Section):
    """How the diffusion prior is used."""

    prior: str = Field("ct-128", description="bundled name or folder")
    steps: int = Field(50, ge=1, description="noise levels")
    samples: int = Field(1, ge=1)
    seed: int = Field(0, ge=0)
    max_slices: int | None = Field(None, ge=1)
    coupling: Literal["auto", "none"] = "auto"
    axes: Literal["auto"] | Annotated[tuple[Literal[0, 1, 2], ...], Field(min_length=1)] = Field(
        (0,),
        description="that slices are counted along: [0] for axial slices; [0, 1] sees coronal ones in every second "
        "step, which takes the place of a coupling and wants voxels of equal sides; auto does so where they are",
    )
    sigma_max: PositiveFloat | None = Field(
        None, description="first level of an EDM grid, network units; None takes the method's own schedule"
    )
    split: Literal["ddim", "dds"] | None = Field(
        None,
        description="of DDIM steppers: ddim samples the posterior, dds comes nearer to its mean with few iterations; "
        "None leaves the method's",
    )
    iterations: int | None = Field(
        None, ge=1, description="of conjugate gradients in DDS, at most, per step; None leaves the method's"
    )


def _method(name: str) -> str:
    known = [*METHODS, *baselines.CT]
    if name not in known:
        if name in baselines.__all__:
            raise ValueError(f"not a method for CT; expected one of {known}")
        near = difflib.get_close_matches(name, known, n=1)
        raise ValueError("unknown method; " + (f"did you mean {near[0]!r}?" if near else f"expected one of {known}"))
    return name


class RunSettings(Section):
    """One scan reconstructed by several methods; the defaults, with `DEMO`, are the demo."""

    name: str = "demo"
    input: Input = Input()
    scan: Scan = Scan()
    grid: Grid = Grid()
    methods: tuple[Annotated[str, AfterValidator(_method)], ...] = Field(("fdk", "sart", "tv", "dds"), min_length=1)
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> RunSettings:
        source = self.input
        if source.projections is None and source.data_exchange is None:
            unused = {"input": (source, ("every", "bin", "pixel_size")), "grid": (self.grid, Grid.model_fields)}
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


def load_settings(model: type[Settings], path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a YAML file, apply `key.path=value` overrides, validate.

    Raises:
        FileNotFoundError: if there is no such file.
        ConfigError: if it is not YAML, a key is unknown or a value does not fit; one line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a YAML configuration; see configs/ for examples")
    try:
        tree = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(tree).__name__}")
    return resolve(model, tree, overrides, str(path))


def resolve(
    model: type[Settings], tree: dict[str, Any], overrides: Iterable[str] = (), source: str = "config"
) -> Settings:
    """Settings from a tree of plain values, which stays as it is, and overrides. Raises ConfigError, one line."""
    tree = copy.deepcopy(tree)
    for override in overrides:
        _set(tree, override)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(model, error)}") from None


def dump_settings(settings: BaseModel) -> str:
    """YAML that `load_settings` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def _set(tree: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {override}: expected key.path=value")
    *parents, last = path.split(".")
    for key in parents:
        # A section without keys is null in YAML.
        below = tree[key] = {} if tree.get(key) is None else tree[key]
        if not isinstance(below, dict):
            raise ConfigError(f"--set {override}: {key} is a value, not a section; set it whole")
        tree = below
    try:
        tree[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: not YAML; expected a number, a name, null or [a, list]") from None


def _first_problem(model: type[BaseModel], error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        *parents, key = problem["loc"]
        known = list(_section(model, parents).model_fields)
        near = difflib.get_close_matches(str(key), known, n=1)
        return f"unknown key {where}; " + (f"did you mean {near[0]!r}?" if near else f"expected one of {known}")
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # of the settings as a whole; the message names the keys
        return message
    got = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
    return f"{where}: {message[0].lower()}{message[1:]}{got}"


def _section(model: type[BaseModel], path: Iterable[Any]) -> type[BaseModel]:
    """The settings class at a path of keys."""
    for key in path:
        if isinstance(key, str):
            model = _model_in(model.model_fields[key].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings class within X, X | None or tuple[X, ...]."""
    plain = isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
    if plain and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
