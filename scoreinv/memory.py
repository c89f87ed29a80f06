"""How much memory a piece of work needs beyond what the process holds already."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

MIB = 2**20
_INTERVAL = 0.01  # seconds between looks


class PeakMemory:
    """A block whose largest resident memory of the host is looked for.

    What lives shorter than a hundredth of a second is missed, and kernels that are compiled and caches that are filled
    in the block count. The system's own high-water mark would miss nothing, but it is that of the process's whole life.

    Attributes:
        mebibytes: above what the process held at the begin of the block; known after it.
    """

    mebibytes: float

    def __enter__(self) -> Self:
        _give_back()
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


def most_held() -> int:
    """Bytes of the host's memory that this process held at its peak."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage tells of the process that started this one, if that was larger
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    import resource  # of Unix alone

    # Of the systems without it, macOS counts in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _give_back() -> None:
    """Freed memory back to the system, or what is used again would be seen by nobody; glibc alone can be asked to."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return
