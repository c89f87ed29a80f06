"""The course of a batch: bars for people, lines of JSON for programs."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from scoreinv.batch.case import Outcome
from scoreinv.config import BatchCase, RunSettings, hot_start
from scoreinv.samplers import METHODS

log = logging.getLogger("scoreinv")


def images(settings: RunSettings) -> int:
    """How many a run makes: one of each method, of a sampler as many as it draws."""
    return sum(settings.sampling.samples if hot_start(name)[1] in METHODS else 1 for name in settings.methods)


class Events:
    """events.jsonl, to which all processes of a batch append, a line at a time.

    `time` (s since 1970), `worker`, `event` (started, case_started, image, case_complete, case_failed, case_busy,
    terminated, finished), and what belongs to it.
    """

    def __init__(self, out: Path, worker: str) -> None:
        self._file = os.open(out / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.worker = worker

    def __call__(self, event: str, **fields: Any) -> None:
        # One call of write, so that lines of several processes do not mix.
        line = json.dumps({"time": round(time.time(), 3), "worker": self.worker, "event": event} | fields) + "\n"
        try:
            os.write(self._file, line.encode())
        except OSError as error:  # a full disk takes no events; cases say for themselves what they lack
            log.warning("events.jsonl: %s", error)

    def close(self) -> None:
        os.close(self._file)


class Progress:
    """A bar of cases, and one of the images of the case at hand, silent where nobody looks; and events."""

    def __init__(self, out: Path, total: int, worker: str) -> None:
        self.event, self.shown = Events(out, worker), sys.stderr.isatty()
        self._whole = tqdm(total=total, desc="cases", unit="case", disable=not self.shown)
        self._case: Any = None
        self.event("started", cases=total)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.event("finished" if kind is None else "terminated")
        self._close_case()
        self._whole.close()
        self.event.close()

    def case_started(self, case: BatchCase) -> None:
        self.event("case_started", case=case.name)
        parts = {"total": images(case.settings), "desc": case.name, "unit": "image", "leave": False}
        self._case = tqdm(**parts, disable=not self.shown)

    def image(self, case: str, method: str, number: int) -> None:
        self.event("image", case=case, method=method, number=number)
        if self._case is not None:
            self._case.update()

    def case_ended(self, outcome: Outcome) -> None:
        reason = {} if outcome.reason is None else {"reason": outcome.reason}
        self.event(f"case_{outcome.status}", case=outcome.name, seconds=round(outcome.seconds, 3), **reason)
        self._close_case()
        self._whole.update()

    def _close_case(self) -> None:
        if self._case is not None:
            self._case.close()
            self._case = None
