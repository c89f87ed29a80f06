"""The state of a training run, so that one that was killed continues as if it had not been."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from pydantic import BaseModel

from scoreinv.io import atomic_path

# Sections that change nothing of the weights: they may differ when a run is continued.
_WITHOUT_EFFECT = ("name", "description", "licences", "checkpoint_every")


def write_settings(out: Path, settings: BaseModel) -> None:
    """`out/config.yaml`, which trains the same again; the folder is made if it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))


def save_checkpoint(path: Path, settings: BaseModel, step: int, **parts: Any) -> None:
    """Write the number of steps done and the state of every part (networks, optimiser), whole or not at all."""
    states = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(path) as temporary:
        torch.save({"settings": settings.model_dump(mode="json"), "step": step, **states}, temporary)


def read_checkpoint(path: Path, settings: BaseModel, parts: Collection[str], device: torch.device) -> dict[str, Any]:
    """What `save_checkpoint` wrote in a run of these settings: `step` and a state by the name of each part.

    Raises:
        ValueError: if the file is damaged, or was made with other settings or parts.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except PermissionError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError) as error:
        raise ValueError(
            f"train: {path} is damaged or no checkpoint ({type(error).__name__}); remove it or give another --out"
        ) from error
    if not isinstance(state, dict) or set(state) != {"settings", "step", *parts}:
        raise ValueError(f"train: {path} is no checkpoint of `scoreinv train`; remove it or give another --out")
    then, now = (_flat(tree) for tree in (state["settings"], settings.model_dump(mode="json")))
    for key in sorted(then.keys() | now.keys()):
        if key.partition(".")[0] not in _WITHOUT_EFFECT and then.get(key) != now.get(key):
            raise ValueError(
                f"train: {path} was made with {key} = {then.get(key)}, this run has {now.get(key)}; "
                f"continue with the settings in {path.parent / 'config.yaml'} or give another --out"
            )
    return state


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Values of nested sections by their path, data.voxel_size."""
    if not isinstance(tree, dict):
        return {path: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{path}.{key}" if path else key)
    return flat
