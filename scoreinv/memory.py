"""How much memory a piece of work needs beyond what the process holds already."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil

MIB = 2**20
_INTERVAL = 0.01  # seconds between looks


class PeakMemory:
    """A block whose largest resident memory is looked for; what lives shorter than a hundredth of a second is missed.

    The system's own high-water mark would miss nothing, but it is that of the whole life of the process.

    Attributes:
        mebibytes: above what the process held at the begin of the block; known after it.
    """

    mebibytes: float

    def __enter__(self) -> Self:
        self._process, self._ended = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watch.join()
        self.mebibytes = (self._most - self._before) / MIB

    def _look(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(_INTERVAL)
            self._most = max(self._most, self._process.memory_info().rss)
