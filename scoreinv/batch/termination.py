"""SIGTERM, with which Slurm asks a job to go: at once, but not in the middle of a write."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STATUS = 128 + signal.SIGTERM


class Termination:
    """Within its block SIGTERM ends the process with status 143, inside `writing` once that is done.

    A thread that is not the main one hears no signals; there it does nothing.
    """

    def __init__(self) -> None:
        self._writes, self._asked = 0, False
        self._previous: Any = None
        self._heard = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Termination:
        if self._heard:
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._heard:
            signal.signal(signal.SIGTERM, self._previous)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A write that is finished first."""
        self._writes += 1
        try:
            yield
        finally:
            self._writes -= 1
        self.check()

    def check(self) -> None:
        """End here if that was asked for: not every frame lets an exception of a signal pass."""
        if self._asked and not self._writes:
            raise SystemExit(STATUS)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self.check()
