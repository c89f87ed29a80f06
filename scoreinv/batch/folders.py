"""Where a batch keeps what, and how the folder of a case appears: whole, and never under two hands."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATUS = "status.json"


@dataclass(frozen=True)
class Places:
    """Of one case in the folder of a batch.

    Attributes:
        out: folder of the batch.
        name: of the case.
    """

    out: Path
    name: str

    @property
    def folder(self) -> Path:
        """What people see."""
        return self.out / self.name

    @property
    def work(self) -> Path:
        """Images kept one by one, and results on their way."""
        return self.out / ".work" / self.name

    @property
    def result(self) -> Path:
        return self.work / "result"

    @property
    def images(self) -> Path:
        return self.work / "images"

    @property
    def failure(self) -> Path:
        """Why the last attempt came to nothing; absent if it did not."""
        return self.work / "failure.json"

    def check(self) -> None:
        """That the folder is to be had. Raises FileExistsError."""
        if self.folder.is_symlink() or (self.folder.exists() and not (self.folder / STATUS).is_file()):
            raise FileExistsError(
                f"{self.folder} is there and no result of a batch; move it, or give the case another name"
            )

    def status(self) -> dict[str, Any] | None:
        """What the folder says of itself."""
        return _read(self.folder / STATUS)

    def outcome(self) -> dict[str, Any] | None:
        """Of the last attempt: why it failed, or else what it left."""
        return _read(self.failure) or self.status()

    def publish(self) -> None:
        """The result takes the place of the folder."""
        old = self.work / "old"
        if self.folder.exists():
            os.rename(self.folder, old)
        os.rename(self.result, self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def clean(self) -> None:
        """Remove what a killed process left half-done; images that are whole stay."""
        for folder in (self.result, self.work / "old"):
            shutil.rmtree(folder, ignore_errors=True)
        for half in self.work.rglob(".*"):
            half.unlink()


@contextmanager
def alone(out: Path, name: str) -> Iterator[bool]:
    """A block that one process at a time is in; False if another one is. A process that dies leaves it."""
    path = out / ".work" / f".{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def in_turn(out: Path) -> Iterator[None]:
    """A block for which processes wait for each other; what one that was killed in it left half-written is removed."""
    path = out / ".work" / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for half in (*out.glob(".*.summary.json"), *out.glob(".*.config.yaml")):
            half.unlink()
        yield


def _read(path: Path) -> dict[str, Any] | None:
    try:
        tree = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return tree if isinstance(tree, dict) else None
