"""Configurations: YAML -> validated, frozen settings. Unknown keys are errors that name the nearest known one.

Any value can be set on the command line by its path, `--set scan.views=48`; values are YAML. The resolved settings are
saved beside every result and can be run again.
"""

from __future__ import annotations

import copy
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Settings = TypeVar("Settings", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message says which key, what was expected and what was got."""


def load_settings(model: type[Settings], path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a YAML file, apply `key.path=value` overrides, validate.

    Raises:
        FileNotFoundError: if there is no such file.
        ConfigError: if it is not YAML, a key is unknown or a value does not fit; one line.
    """
    return resolve(model, read_tree(path), overrides, str(path))


def read_tree(path: str | Path) -> dict[str, Any]:
    """Plain values of a YAML file. Raises like `load_settings`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a YAML configuration; see configs/ for examples")
    try:
        tree = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(tree).__name__}")
    return tree


def resolve(
    model: type[Settings], tree: dict[str, Any], overrides: Iterable[str] = (), source: str = "config"
) -> Settings:
    """Settings from a tree of plain values, which stays as it is, and overrides. Raises ConfigError, one line."""
    try:
        return model.model_validate(overridden(tree, overrides))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(model, error)}") from None


def overridden(tree: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of the tree with `key.path=value` set."""
    tree = copy.deepcopy(tree)
    for override in overrides:
        _set(tree, override)
    return tree


def dump_settings(settings: BaseModel) -> str:
    """YAML that `load_settings` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def with_values(tree: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the tree with values at key.paths."""
    tree = copy.deepcopy(tree)
    for path, value in values.items():
        _put(tree, path, value, f"set {path}")
    return tree


def _set(tree: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {override}: expected key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: not YAML; expected a number, a name, null or [a, list]") from None
    _put(tree, path, value, f"--set {override}")


def _put(tree: dict[str, Any], path: str, value: Any, what: str) -> None:
    *parents, last = path.split(".")
    for key in parents:
        # A section without keys is null in YAML.
        below = tree[key] = {} if tree.get(key) is None else tree[key]
        if not isinstance(below, dict):
            raise ConfigError(f"{what}: {key} is a value, not a section; set it whole")
        tree = below
    tree[last] = value


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
    """The settings class at a path of keys; those of a mapping are names, of which the class has no field."""
    for key in path:
        if key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings class within X, X | None or tuple[X, ...]."""
    plain = isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
    if plain and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
