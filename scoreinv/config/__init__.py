"""What a run is told: YAML files, validated, one class of settings a modality."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scoreinv.config import ct, mri, pet
from scoreinv.config.batch import RESERVED, BatchSettings, CaseSettings, found, stem, swept
from scoreinv.config.ct import CTSettings
from scoreinv.config.loading import (
    ConfigError,
    dump_settings,
    load_settings,
    overridden,
    read_tree,
    resolve,
    with_values,
)
from scoreinv.config.mri import MRISettings
from scoreinv.config.pet import PETSettings
from scoreinv.config.sampling import NAME, Lesion, RunSettings, Sampling, check_one_sampler, hot_start
from scoreinv.config.uncertainty import CalibrateSettings, LesionSettings, Region, SampleSettings
from scoreinv.training.learned import MODELS, LearnedSettings
from scoreinv.training.settings import TrainSettings

_ABSENT = object()
RUNS: dict[str, type[RunSettings]] = {"cbct": CTSettings, "mri": MRISettings, "pet": PETSettings}
DEMOS: dict[str, tuple[dict[str, Any], ...]] = {"cbct": (ct.DEMO,), "mri": (mri.DEMO,), "pet": pet.DEMO}


def load_run(path: str | Path, overrides: Iterable[str] = ()) -> RunSettings:
    """Settings of a run from a YAML file, of the modality it names (cbct if none). Raises like `load_settings`."""
    return _of_its_modality(overridden(read_tree(path), overrides), str(path))


@dataclass(frozen=True)
class BatchCase:
    """One case of a batch: the run over one input.

    Attributes:
        name: of its folder.
        settings: of the run.
        kind: what it is counted among when means are taken, by key.path of the run.
    """

    name: str
    settings: RunSettings
    kind: dict[str, Any] = field(default_factory=dict)


def load_batch(path: str | Path, overrides: Iterable[str] = ()) -> tuple[BatchSettings, list[BatchCase]]:
    """Settings of a batch and its cases. Raises like `load_settings`, and as `batch_cases`."""
    settings = load_settings(BatchSettings, path, overrides)
    return settings, batch_cases(settings, str(path))


def batch_cases(settings: BatchSettings, source: str = "config") -> list[BatchCase]:
    """The run of every case, in the order given.

    Raises:
        ConfigError: if a pattern finds nothing, a name is no name of a folder or given twice, the settings of a case
            are none of a run, or means are asked for by what is no setting.
    """
    cases: list[BatchCase] = []
    taken: dict[str, str] = {}
    known: set[str] = set()
    for k, entry in enumerate(settings.cases):
        try:
            pairs = found(entry, f"cases.{k}")
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from None
        for (stem_name, file), (ending, values) in itertools.product(pairs, swept(entry)):
            name = stem_name + ending
            what = f"cases.{k}" if file is None else f"cases.{k} ({str(file)!r})"
            if not re.fullmatch(NAME, name) or name in RESERVED:
                raise ConfigError(f"{source}: {what}: {name!r} cannot be the name of a case's folder; give a name")
            # Names that differ in case alone are one on some disks.
            if name.casefold() in taken:
                raise ConfigError(
                    f"{source}: {what} and {taken[name.casefold()]} are both named {name!r}; give one of them a name"
                )
            taken[name.casefold()] = what
            run = _case_run(settings, entry, values, name, file, f"{source}: {what}")
            tree = run.model_dump(mode="json")
            kind = {path: _at(tree, path) for path in settings.means_by}
            known |= {path for path, value in kind.items() if value is not _ABSENT}
            shown = {path: None if value is _ABSENT else value for path, value in kind.items()}
            cases.append(BatchCase(name, run, shown))
    for path in settings.means_by:
        if path not in known:
            raise ConfigError(f"{source}: means_by: {path} is a key of no case's run, expected one such as scan.views")
    return cases


def _at(tree: Any, path: str) -> Any:
    """The value at a key.path; _ABSENT if there is no such key, None below a section that is null."""
    for key in path.split("."):
        if tree is None:
            return None
        if not isinstance(tree, dict) or key not in tree:
            return _ABSENT
        tree = tree[key]
    return tree


def _case_run(
    settings: BatchSettings, entry: CaseSettings, own: dict[str, Any], name: str, file: Path | None, source: str
) -> RunSettings:
    values = entry.set | own
    if file is not None:
        values[settings.file] = str(file)
        values |= {key: str(file.parent / text.replace("{stem}", stem(file))) for key, text in settings.beside.items()}
    return _of_its_modality(with_values(settings.run, values | {"name": name}), f"{source}: run")


def load_calibration(path: str | Path, overrides: Iterable[str] = ()) -> tuple[CalibrateSettings, list[RunSettings]]:
    """Settings of a calibration and the run of every case: those to learn from, those to test on, and one whose truth
    alone is used. Raises like `load_settings`."""
    settings = load_settings(CalibrateSettings, path, overrides)
    runs = []
    for k in range(settings.calibration + settings.test + 1):
        tree = with_values(settings.run, dict.fromkeys(settings.vary, settings.first + k))
        runs.append(_of_its_modality(tree, f"{path}: run"))
    return settings, runs


def load_sample(path: str | Path, overrides: Iterable[str] = ()) -> tuple[SampleSettings, RunSettings]:
    """What is asked about samples, and the run that they are of. Raises like `load_settings`."""
    settings = load_settings(SampleSettings, path, overrides)
    return settings, _of_its_modality(settings.run, f"{path}: run")


def load_lesion(
    path: str | Path, overrides: Iterable[str] = ()
) -> tuple[LesionSettings, dict[str, list[tuple[RunSettings, RunSettings]]]]:
    """Settings of a study of lesions, and by name of its runs the scans of every patient: with the lesion and without.
    Raises like `load_settings`."""
    settings = load_settings(LesionSettings, path, overrides)

    def scan(name: str, patient: int, present: bool) -> RunSettings:
        values = dict.fromkeys(settings.vary, settings.first + patient) | {"input.phantom.lesion.present": present}
        return _of_its_modality(with_values(settings.runs[name], values), f"{path}: runs.{name}")

    patients = range(settings.patients)
    return settings, {name: [(scan(name, k, True), scan(name, k, False)) for k in patients] for name in settings.runs}


def _of_its_modality(tree: dict[str, Any], source: str) -> RunSettings:
    """Settings of a run, of the modality it names (cbct if none)."""
    modality = tree.get("modality", "cbct")
    if not isinstance(modality, str) or modality not in RUNS:
        raise ConfigError(f"{source}: modality is {modality!r}, expected one of {sorted(RUNS)}")
    return resolve(RUNS[modality], tree, (), source)


def load_training(path: str | Path, overrides: Iterable[str] = ()) -> TrainSettings | LearnedSettings:
    """Settings of a training run from a YAML file, of the `model` it names (score if none). Raises as `load_run`."""
    tree = overridden(read_tree(path), overrides)
    model = tree.get("model", "score")
    if isinstance(model, str) and model in MODELS:
        return resolve(MODELS[model], tree, (), str(path))
    if model != "score":
        raise ConfigError(f"{path}: model is {model!r}, expected one of {sorted([*MODELS, 'score'])}")
    tree.pop("model", None)
    return resolve(TrainSettings, tree, (), str(path))


__all__ = [
    "DEMOS",
    "RUNS",
    "BatchCase",
    "BatchSettings",
    "CTSettings",
    "CalibrateSettings",
    "ConfigError",
    "Lesion",
    "LesionSettings",
    "MRISettings",
    "PETSettings",
    "Region",
    "RunSettings",
    "SampleSettings",
    "Sampling",
    "batch_cases",
    "check_one_sampler",
    "dump_settings",
    "hot_start",
    "load_batch",
    "load_calibration",
    "load_lesion",
    "load_run",
    "load_sample",
    "load_settings",
    "load_training",
    "read_tree",
    "resolve",
]
