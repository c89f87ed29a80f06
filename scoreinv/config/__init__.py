"""What a run is told: YAML files, validated, one class of settings a modality."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scoreinv.config import ct, mri, pet
from scoreinv.config.ct import CTSettings
from scoreinv.config.loading import ConfigError, dump_settings, load_settings, overridden, read_tree, resolve
from scoreinv.config.mri import MRISettings
from scoreinv.config.pet import PETSettings
from scoreinv.config.sampling import RunSettings, Sampling, hot_start
from scoreinv.training.learned import MODELS, LearnedSettings
from scoreinv.training.settings import TrainSettings

RUNS: dict[str, type[RunSettings]] = {"cbct": CTSettings, "mri": MRISettings, "pet": PETSettings}
DEMOS: dict[str, tuple[dict[str, Any], ...]] = {"cbct": (ct.DEMO,), "mri": (mri.DEMO,), "pet": pet.DEMO}


def load_run(path: str | Path, overrides: Iterable[str] = ()) -> RunSettings:
    """Settings of a run from a YAML file, of the modality it names (cbct if none). Raises like `load_settings`."""
    tree = overridden(read_tree(path), overrides)
    modality = tree.get("modality", "cbct")
    if modality not in RUNS:
        raise ConfigError(f"{path}: modality is {modality!r}, expected one of {sorted(RUNS)}")
    return resolve(RUNS[modality], tree, (), str(path))


def load_training(path: str | Path, overrides: Iterable[str] = ()) -> TrainSettings | LearnedSettings:
    """Settings of a training run from a YAML file, of the `model` it names (score if none). Raises as `load_run`."""
    tree = overridden(read_tree(path), overrides)
    model = tree.get("model", "score")
    if model in MODELS:
        return resolve(MODELS[model], tree, (), str(path))
    if model != "score":
        raise ConfigError(f"{path}: model is {model!r}, expected one of {sorted([*MODELS, 'score'])}")
    tree.pop("model", None)
    return resolve(TrainSettings, tree, (), str(path))


__all__ = [
    "DEMOS",
    "RUNS",
    "CTSettings",
    "ConfigError",
    "MRISettings",
    "PETSettings",
    "RunSettings",
    "Sampling",
    "dump_settings",
    "hot_start",
    "load_run",
    "load_settings",
    "load_training",
    "read_tree",
    "resolve",
]
