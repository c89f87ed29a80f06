"""Settings of a batch: many cases, each a run over one input."""

from __future__ import annotations

import glob
import itertools
import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from scoreinv.config.sampling import Name
from scoreinv.training.settings import Section

# What is in a batch's folder beside its cases.
RESERVED = ("config.yaml", "events.jsonl", "report.html", "summary.json")


class CaseSettings(Section):
    """One case, or as many as a pattern finds."""

    name: Name | None = Field(None, description="of its folder; None is that of its file, up to the first dot")
    file: str | None = Field(None, description="measurements, or a pattern such as scans/*.h5 for many")
    set: dict[str, Any] = Field({}, description="what is particular to it, by key.path of the run")
    sweep: dict[str, tuple[Any, ...]] = Field(
        {}, description="values by key.path of the run; every combination of them is a case of its own"
    )

    @model_validator(mode="after")
    def _every_value_once(self) -> Self:
        for key, values in self.sweep.items():
            if not values:
                raise ValueError(f"sweep.{key}: is empty, expected at least one value")
            if any(value in values[:k] for k, value in enumerate(values)):
                raise ValueError(f"sweep.{key}: is {list(values)}, expected every value once")
            if key in self.set:
                raise ValueError(f"sweep.{key}: stands in set as well; remove it there")
        return self


class Outputs(Section):
    """What a case leaves beside means, spreads and metrics."""

    samples: bool = Field(True, description="every posterior sample; more can be added later")
    figure: bool = Field(False, description="figure.png")


class RaySettings(Section):
    """How Ray places cases."""

    cpus: NonNegativeFloat = Field(1.0, description="of a case")
    gpus: NonNegativeFloat = Field(0.0, description="of a case; 0.5 puts two on one")
    retries: NonNegativeInt = Field(3, description="of a case whose worker died")
    address: str | None = Field(None, description="of the cluster; None takes RAY_ADDRESS, or starts one here")


class BatchSettings(Section):
    """Many cases, each reconstructed as the run says."""

    format: Literal[1] = Field(1, description="of this file")
    name: Name = "batch"
    run: dict[str, Any] = Field(description="what every case is told: the configuration of a run, of any modality")
    file: str = Field("input.volume", description="key of the run that a case's file goes to")
    beside: dict[str, str] = Field(
        {},
        description="further files of every case, geometry or mu-map, by key of the run; {stem} is the file's name up "
        "to the first dot, and they lie in its folder unless absolute",
    )
    cases: tuple[CaseSettings, ...] = Field(min_length=1)
    means_by: tuple[str, ...] = Field((), description="key.paths of the run: means are over cases alike in these")
    outputs: Outputs = Outputs()
    engine: Literal["local", "ray"] = Field("local", description="ray: a queue on a cluster, of scoreinv[cluster]")
    ray: RaySettings = RaySettings()
    threads: PositiveInt | None = Field(None, description="of a process; None leaves them to torch")


def swept(case: CaseSettings) -> list[tuple[str, dict[str, Any]]]:
    """What the name of a case ends with, and the values that it is told, of every combination."""
    combinations = itertools.product(*case.sweep.values())
    told = [dict(zip(case.sweep, values, strict=True)) for values in combinations]
    return [("".join(f"-{key.rpartition('.')[2]}-{_plain(each[key])}" for key in each), each) for each in told]


def _plain(value: Any) -> str:
    """A value as part of a name: paths and lists without their separators."""
    return "-".join(re.findall(r"\w+(?:\.\w+)*", str(value)))


def found(case: CaseSettings, where: str) -> list[tuple[str, Path | None]]:
    """Name and file of each case that an entry stands for.

    Raises:
        ValueError: if a pattern finds nothing, or one name is given to many.
    """
    if case.file is None:
        if case.name is None:
            raise ValueError(f"{where}: has neither name nor file; expected one of them")
        return [(case.name, None)]
    if not glob.has_magic(case.file):
        return [(case.name or stem(Path(case.file)), Path(case.file))]
    files = sorted(map(Path, glob.glob(case.file, recursive=True)))
    if not files:
        raise ValueError(f"{where}.file: {case.file} finds no file in {Path.cwd()}; expected at least one")
    if case.name is not None and len(files) > 1:
        raise ValueError(f"{where}.name: {case.name} is given to {len(files)} files of {case.file}; leave it out")
    return [(case.name or stem(file), file) for file in files]


def stem(file: Path) -> str:
    """The name up to the first dot."""
    return file.name.partition(".")[0]
