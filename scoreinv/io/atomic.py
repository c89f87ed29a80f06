"""Files that are whole or absent: the checks before reading, and writing under a temporary name."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, with its suffix; at the end of the block the file takes its final name.

    If the block raises, the temporary file is removed and whatever stood under `path` before is untouched. A running
    write is visible only as `.<random>.<name>`.

    Raises:
        FileNotFoundError: if the folder of `path` does not exist.
    """
    final = Path(path)
    if not final.parent.is_dir():
        raise FileNotFoundError(f"{final}: folder {final.parent} does not exist; create it first")
    # Not mkstemp: its files are private to their owner, and the rename would keep that.
    temporary = final.with_name(f".{uuid.uuid4().hex}.{final.name}")
    try:
        yield temporary
        # Without fsync a power failure can leave the new name on an empty file.
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_pair(header: str | Path, values: str | Path) -> Iterator[tuple[Path, Path]]:
    """Yield temporary names for a header and the numbers it describes; at the end both take their final names.

    Without its header the pair is not there: an old one goes before the numbers are replaced, and the new one comes
    last, so that no reader meets numbers under the header of others. If the block raises, the old pair is untouched.

    Raises:
        FileNotFoundError: if a folder does not exist.
    """
    with atomic_path(header) as new_header, atomic_path(values) as new_values:
        yield new_header, new_values
        Path(header).unlink(missing_ok=True)


def write_json(path: str | Path, tree: Any) -> None:
    """Write plain values as JSON, whole or not at all; NaN and Inf, which JSON does not know, become null."""
    text = json.dumps(_finite(tree), indent=1, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_suffix(path: str | Path, suffixes: Sequence[str], what: str) -> Path:
    """`path` as a Path, if its name ends in one of `suffixes` (in any case); otherwise ValueError."""
    if not str(path).lower().endswith(tuple(suffixes)):
        raise ValueError(
            f"{path}: expected {what} named {' or '.join(f'*{s}' for s in suffixes)}; convert or rename it"
        )
    return Path(path)


def check_exists(path: str | Path, suffixes: Sequence[str], what: str) -> Path:
    """As `check_suffix`; FileNotFoundError unless `path` is a file."""
    checked = check_suffix(path, suffixes, what)
    if not checked.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected {what}; check the path")
    return checked
