"""One case of a batch, from wherever an earlier attempt came to."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from scoreinv.batch import identity
from scoreinv.batch.folders import STATUS, Places, alone
from scoreinv.config import BatchCase, RunSettings, dump_settings, hot_start
from scoreinv.config.batch import Outputs
from scoreinv.io import atomic_path, write_json
from scoreinv.priors import NetworkPrior, load_prior
from scoreinv.run import run
from scoreinv.samplers import METHODS
from scoreinv.samples import SampleStore

log = logging.getLogger("scoreinv")


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        name: of the case.
        status: complete; failed; or busy, if another process works on it.
        reason: why it failed.
        seconds: spent on it now; 0 if it was complete already.
        metrics: by method.
    """

    name: str
    status: str
    reason: str | None = None
    seconds: float = 0.0
    metrics: dict[str, dict[str, float]] | None = None


def work(
    case: BatchCase,
    out: Path,
    outputs: Outputs,
    progress: bool = False,
    writing: Callable[[], AbstractContextManager[None]] = nullcontext,
    told: Callable[[str, int], None] = lambda method, number: None,
) -> Outcome:
    """Bring a case to its end; whatever is wrong with it becomes the reason why it failed.

    Args:
        case: what to reconstruct.
        out: folder of the batch.
        outputs: what to leave.
        progress: show bars.
        writing: what every write happens within.
        told: of every image once it is kept, by method and number.
    """
    places, begun = Places(out, case.name), time.perf_counter()
    with alone(out, case.name) as free:
        if not free:
            return Outcome(case.name, "busy", "another process works on it")
        try:
            places.check()
            return _attempt(case.settings, places, outputs, progress, writing, told)
        except Exception as error:
            log.debug("%s", case.name, exc_info=True)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            seconds = time.perf_counter() - begun
            _record_failure(places, case.settings, reason, seconds)
            return Outcome(case.name, "failed", reason, seconds)


def finished(case: BatchCase, out: Path, outputs: Outputs) -> bool:
    """Whether all that the case would leave is there, made of the same inputs, weights, settings and versions."""
    status = Places(out, case.name).status()
    try:
        key = identity.key(case.settings, identity.inputs(case.settings), identity.weights(case.settings))
    except OSError:  # what is wrong with its files is for the attempt to say
        return False
    return status is not None and _stands(status, _whole(case.settings, outputs, key))


def _whole(settings: RunSettings, outputs: Outputs, key: str) -> str:
    """Of everything that a case leaves; `key` is that of one of its samples."""
    asked = settings.methods, settings.options, settings.sampling.samples
    return identity.key(settings, key, *asked, outputs.model_dump())


def _stands(status: dict[str, Any], whole: str) -> bool:
    return status.get("status") == "complete" and status.get("key") == whole


def _attempt(
    settings: RunSettings,
    places: Places,
    outputs: Outputs,
    progress: bool,
    writing: Callable[[], AbstractContextManager[None]],
    told: Callable[[str, int], None],
) -> Outcome:
    begun, started = time.perf_counter(), _now()
    inputs, weights = identity.inputs(settings), identity.weights(settings)
    key = identity.key(settings, inputs, weights)
    whole = _whole(settings, outputs, key)
    status = places.status()
    if status is not None and _stands(status, whole):
        places.failure.unlink(missing_ok=True)
        return Outcome(places.name, "complete", metrics=status["metrics"])
    places.clean()

    def kept(method: str) -> SampleStore:
        start, _ = hot_start(method)
        own = identity.key(settings, key, settings.options.get(method.partition("+")[0]))
        if start is not None and hot_start(start)[1] in METHODS:  # of the mean of so many samples
            own = identity.key(settings, own, settings.sampling.samples)
        return SampleStore(places.images / method, own, writing, lambda number: told(method, number))

    before = {method: kept(method).numbers() for method in settings.methods}
    sampled = any(hot_start(method)[1] in METHODS for method in settings.methods)
    metrics = run(
        settings,
        places.result,
        progress,
        lambda line: log.debug("%s: %s", places.name, line),
        prior=_prior(settings.sampling.prior, weights[settings.sampling.prior]) if sampled else None,
        kept=kept,
        picture=outputs.figure,
        samples=outputs.samples,
    )
    seconds = time.perf_counter() - begun
    with writing():
        record = {
            "status": "complete",
            "name": places.name,
            "key": whole,
            "seeds": _seeds(settings),
            "versions": identity.versions(),
            "inputs": inputs,
            "weights": weights,
            "started": started,
            "finished": _now(),
            "seconds": {"now": seconds} | {method: row["seconds"] for method, row in metrics.items()},
            "kept_before": before,
            "metrics": metrics,
        }
        write_json(places.result / STATUS, record)
        places.publish()
        places.failure.unlink(missing_ok=True)
        if not outputs.samples:
            shutil.rmtree(places.work, ignore_errors=True)
    return Outcome(places.name, "complete", None, seconds, metrics)


@lru_cache(maxsize=1)
def _prior(name: str, digest: str) -> NetworkPrior:
    """The prior of these weights; cases of a process share it."""
    return load_prior(name)


def _record_failure(places: Places, settings: RunSettings, reason: str, seconds: float) -> None:
    """Beside what is kept; and in the folder of the case, unless results stand there."""
    record = {"status": "failed", "name": places.name, "reason": reason, "finished": _now(), "seconds": seconds}
    try:
        places.work.mkdir(parents=True, exist_ok=True)
        write_json(places.failure, record)
        status = places.status()
        if places.folder.exists() and (status is None or status.get("status") == "complete"):
            return
        places.clean()
        places.result.mkdir()
        with atomic_path(places.result / "config.yaml") as temporary:
            temporary.write_text(dump_settings(settings))
        write_json(places.result / STATUS, record | {"versions": identity.versions(), "seeds": _seeds(settings)})
        places.publish()
    except OSError as error:  # a full disk takes no reasons either; the caller has this one
        log.warning("%s: %s", places.name, error)


def _seeds(settings: RunSettings) -> dict[str, Any]:
    tree = settings.model_dump(mode="json")
    return {
        section: values["seed"] for section, values in tree.items() if isinstance(values, dict) and "seed" in values
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
