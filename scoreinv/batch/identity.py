"""What a result was made from, by SHA-256: the files that were read, the weights, the settings, the versions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from scoreinv._version import __version__
from scoreinv.baselines import networks
from scoreinv.config import RunSettings
from scoreinv.priors import storage

# How headers name the file of their data, which lies beside them.
_NAMED = re.compile(
    rb"^\s*!?\s*(?:name of data file|ElementDataFile)\s*:?=[ \t]*(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE
)
_HEADERS = (".hs", ".hv", ".hdr", ".mhd")
_PAIRS = {".cfl": ".hdr", ".hdr": ".cfl"}


def versions() -> dict[str, str]:
    return {"scoreinv": __version__, "torch": str(torch.__version__)}


def inputs(settings: BaseModel) -> dict[str, str]:
    """SHA-256 of every file that the settings name, by its path.

    Raises:
        FileNotFoundError: if one is missing.
    """
    files = sorted({part for path in _paths(settings) for part in _parts(path)})
    return {str(path): _digest(path) for path in files}


def weights(settings: RunSettings) -> dict[str, str]:
    """SHA-256 of the weights and configuration of the prior and the networks, by what the settings call them."""
    named = [(settings.sampling.prior, storage.BUNDLED)]
    named += [(name, networks.BUNDLED) for name in settings.networks.values()]
    digests = {}
    for name, bundled in named:
        folder = Path(name) if Path(name).is_dir() else bundled / name
        files = [folder / "config.json", folder / "model.safetensors"]
        digests[name] = _combined({file.name: _digest(file) for file in files if file.is_file()})
    return digests


def key(settings: RunSettings, *parts: Any) -> str:
    """Of everything a sample depends on but its number: settings without names and numbers, and further parts.

    Options of classical methods are those methods' own, a part for what depends on one of them.
    """
    tree = settings.model_dump(
        mode="json", exclude={"name": True, "methods": True, "options": True, "sampling": {"samples"}}
    )
    tree["sampling"]["max_slices"] = None  # bounds memory and changes no sample
    tree["device"] = settings.device.partition(":")[0]  # one GPU computes as another
    return _combined([tree, versions(), *parts])


def _paths(section: Any) -> Iterator[Path]:
    """The files that settings name."""
    if isinstance(section, Path):
        yield section
    elif isinstance(section, BaseModel):
        for name in type(section).model_fields:
            yield from _paths(getattr(section, name))
    elif isinstance(section, dict):
        for value in section.values():
            yield from _paths(value)


def _parts(path: Path) -> Iterator[Path]:
    """The files that are read where a file, or a folder of DICOM, is named."""
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
        return
    yield path
    suffix = path.suffix.lower()
    if suffix in _PAIRS and path.with_suffix(_PAIRS[suffix]).is_file():
        yield path.with_suffix(_PAIRS[suffix])
    elif suffix in _HEADERS and path.is_file():
        named = _NAMED.search(path.read_bytes()[:65536])
        if named and named[1] != b"LOCAL":
            yield path.parent / named[1].decode()


def _digest(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=4096)
def _read(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _combined(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
