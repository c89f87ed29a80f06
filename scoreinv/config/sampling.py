"""What every run can be told, whatever its modality."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from pydantic import Field, PositiveFloat, TypeAdapter, ValidationError, ValidationInfo, field_validator

from scoreinv import baselines
from scoreinv.samplers import METHODS
from scoreinv.training.settings import Section

log = logging.getLogger("scoreinv")
# The name of a folder, which stays where it is put.
NAME = r"^\w[\w.+-]*$"
Name = Annotated[str, Field(pattern=NAME)]


class Lesion(Section):
    """A ball of changed tissue at a random place within a procedural patient."""

    seed: int = Field(0, ge=0, description="of its place")
    radius: PositiveFloat = Field(8.0, description="mm")
    contrast: float = Field(description="that it adds: HU; of MR and PET a share of what surrounds it")
    present: bool = Field(True, description="false leaves it out, and the patient as it is")


class Sampling(Section):
    """How the diffusion prior is used."""

    prior: str = Field(description="bundled name or folder")
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
    start_sigma: PositiveFloat = Field(
        0.2,
        description="of methods a+b: noise that is added to the image of a, from where b goes on; network units, about "
        "as large as the error of that image",
    )
    reference: Path | None = Field(
        None,
        description="image of another contrast on the same grid (NIfTI or MHA), which a prior trained for it is told",
    )
    reference_weight: float = Field(
        1.0, ge=0, description="0 ignores the reference, 1 believes it, more exaggerates it"
    )
    compile: bool = Field(
        False, description="the network, by torch: up to minutes at the first step, for long runs where that pays"
    )
    iterations: int | None = Field(
        None, ge=1, description="of conjugate gradients in DDS, at most, per step; None leaves the method's"
    )


def _plain_options(function: Callable[..., Any]) -> dict[str, Any]:
    """Types of the keywords of a function that a file can give, numbers and words: no noise model, no image."""
    types = get_type_hints(function)
    keywords = [
        option.name for option in inspect.signature(function).parameters.values() if option.kind is option.KEYWORD_ONLY
    ]
    return {name: types[name] for name in keywords if _is_plain(types[name])}


def _is_plain(kind: Any) -> bool:
    parts = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return all(part in (bool, int, float, str, NoneType) or get_origin(part) is Literal for part in parts)


BACKEND = (
    "of line integrals of reconstructions: numba on the CPU, streamed on a GPU piece by piece, or another program's; "
    "auto is where the data are. Data stay on the CPU for a backend that takes no others, and device is the prior's"
)


def hot_start(name: str) -> tuple[str | None, str]:
    """What a sampler starts from, and the sampler, of a method named `start+sampler`; any other starts from nothing."""
    start, _, sampler = name.rpartition("+")
    return start or None, sampler


class RunSettings(Section):
    """One scan reconstructed by several methods.

    A method `a+b` is sampler b started from the image of method a, which stands before it in the list.
    """

    BASELINES: ClassVar[tuple[str, ...]]

    modality: str
    name: Name = "run"
    device: str = Field("cpu", description="that computes: cpu, cuda, cuda:1")
    networks: dict[Annotated[str, Field(pattern=r"^[\w-]+$")], str] = Field(
        {}, description="learned methods: what `methods` calls them, and bundled name or folder of `scoreinv train`"
    )
    methods: tuple[str, ...] = Field(min_length=1)
    options: dict[str, dict[str, Any]] = Field(
        {}, description="of classical methods, where their defaults will not do, such as osem: {iterations: 2}"
    )
    sampling: Sampling

    @field_validator("device")
    @classmethod
    def _is_device(cls, device: str) -> str:
        if re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
            raise ValueError("no such device; expected cpu, cuda, or cuda:1 and the like of several GPUs")
        return device

    @field_validator("networks")
    @classmethod
    def _own_names(cls, networks: dict[str, str]) -> dict[str, str]:
        for name in networks:
            if name in METHODS or name in cls.BASELINES:
                raise ValueError(f"{name!r} is the name of a method; give the network another")
        return networks

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = [*METHODS, *cls.BASELINES, *info.data.get("networks", ())]
        for k, whole in enumerate(methods):
            start, name = hot_start(whole)
            if start is not None and (start not in methods[:k] or name not in METHODS):
                raise ValueError(
                    f"{whole!r} starts a sampler from an image; expected {start!r} listed before it, and a sampler "
                    "after the +"
                )
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else f"expected one of {known}, or one that `networks` names"
                )
                raise ValueError(f"unknown method {name!r}; {hint}")
        return methods

    @field_validator("options")
    @classmethod
    def _of_classical_methods(
        cls, options: dict[str, dict[str, Any]], info: ValidationInfo
    ) -> dict[str, dict[str, Any]]:
        for name, given in options.items():
            if name not in cls.BASELINES or name not in info.data.get("methods", (name,)):
                raise ValueError(f"{name!r} is no classical method of this run; expected one in methods")
            known = _plain_options(getattr(baselines, name))
            for key, value in given.items():
                if key not in known:
                    raise ValueError(f"{name} has no option {key!r}; expected one of {list(known)}")
                try:
                    given[key] = TypeAdapter(known[key]).validate_python(value)
                except ValidationError as error:
                    raise ValueError(f"{name}.{key}: {error.errors()[0]['msg']}, got {value!r}") from None
        return options


def check_one_sampler(run: RunSettings) -> None:
    """Raise ValueError unless a run is of one sampler, and of enough samples to have a spread."""
    if len(run.methods) != 1 or hot_start(run.methods[0])[0] or run.methods[0] not in METHODS:
        raise ValueError(f"run.methods: {list(run.methods)}, expected one sampler such as dds")
    if run.sampling.samples < 2:
        raise ValueError(f"run.sampling.samples: {run.sampling.samples}, expected at least 2; one has no spread")
    if (run.sampling.split or getattr(METHODS[run.methods[0]].stepper, "split", None)) == "dds":
        log.warning(
            "%s comes near the mean of the posterior and hardly spreads; for uncertainty take dds or dps, split ddim",
            run.methods[0],
        )
