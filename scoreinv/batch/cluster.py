"""Cases in the queue of a Ray cluster, which finds a place for each and starts those again whose worker died."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scoreinv.batch.case import Outcome, work
from scoreinv.batch.progress import Events
from scoreinv.config import BatchCase
from scoreinv.config.batch import BatchSettings, Outputs


def work_on_cluster(settings: BatchSettings, cases: Sequence[BatchCase], out: Path) -> Iterator[Outcome]:
    """Outcomes as they come; every machine sees `out` and the inputs under the same paths.

    Raises:
        ValueError: without Ray.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        heard = signal.getsignal(signal.SIGTERM)
        ray.init(address=settings.ray.address, log_to_driver=False)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, heard)  # Ray's own would end with another status
    try:
        options = {
            "num_cpus": settings.ray.cpus,
            "num_gpus": settings.ray.gpus,
            "max_retries": settings.ray.retries,
        }
        remote = ray.remote(**options)(_work)
        common = out.resolve(), settings.outputs, settings.threads, Path.cwd()
        waiting = {remote.remote(case, *common): case.name for case in cases}
        while waiting:
            [done], _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                yield Outcome(name, "failed", f"{reason} (after {settings.ray.retries} retries)")
    finally:
        if ours:
            ray.shutdown()


def _work(case: BatchCase, out: Path, outputs: Outputs, threads: int | None, here: Path) -> Outcome:
    """In a process of the cluster."""
    import torch

    os.chdir(here)  # the paths of a configuration are relative to where the batch was started
    if threads is not None:
        torch.set_num_threads(threads)
    event = Events(out, f"{socket.gethostname()}, process {os.getpid()}")
    event("case_started", case=case.name)
    try:
        return work(
            case, out, outputs, told=lambda method, number: event("image", case=case.name, method=method, number=number)
        )
    finally:
        event.close()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError("engine: ray needs Ray; pip install 'scoreinv[cluster]', or use engine: local") from None
    return ray
