"""Many cases, each a run over one input: resumed where an earlier batch came to, none stopped by another's failure.

A case computes in `.work/<case>/`, where every image is kept as it comes, and its folder appears whole. What was made
of the same inputs, weights, settings and versions is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from scoreinv.batch.case import Outcome, finished, work
from scoreinv.batch.folders import in_turn
from scoreinv.batch.progress import Progress
from scoreinv.batch.share import Share, gathered, rank
from scoreinv.batch.summary import means_table, table, write_summary
from scoreinv.batch.termination import Termination
from scoreinv.cases import check_here
from scoreinv.config import BatchCase, BatchSettings, dump_settings
from scoreinv.io import atomic_path

__all__ = ["Outcome", "Share", "batch", "finished", "work"]


def batch(
    settings: BatchSettings,
    cases: Sequence[BatchCase],
    out: Path,
    shard: Share | None = None,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Work on the cases of a shard, and of them on those of this process's rank.

    Args:
        settings: of the batch.
        cases: all of them, from `batch_cases`.
        out: folder of the batch: config.yaml, events.jsonl, summary.json, and a folder a case.
        shard: None is the whole.
        say: told the table at the end.

    Returns:
        What became of each case of the shard.

    Raises:
        OSError: if the folder cannot be written.
        ImportError, ValueError: for a device, backend or program that is not here; an earlier summary stays.
        SystemExit: with status 143 after SIGTERM.
    """
    shard = shard or Share()
    part = rank() if settings.engine == "local" else Share()
    own = part.take(shard.take(cases))
    if settings.engine == "local":  # workers elsewhere know what they have
        for case in own:
            check_here(case.settings)
    out.mkdir(parents=True, exist_ok=True)
    with in_turn(out), atomic_path(out / "config.yaml") as temporary:
        temporary.write_text(dump_settings(settings))
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    outcomes: list[Outcome] = []
    with Termination() as termination, Progress(out, len(own), f"shard {shard}, rank {part}") as progress:
        try:
            for outcome in _outcomes(settings, own, out, progress, termination):
                progress.case_ended(outcome)
                outcomes.append(outcome)
            outcomes = gathered(part, outcomes)
        finally:
            if part.index == 0:
                say(table(outcomes))
            with termination.writing():
                summary = write_summary(out, cases, outcomes)
    if part.index == 0:
        counts = ", ".join(f"{number} {status}" for status, number in summary["counts"].items() if number)
        if summary["means"]:
            say(means_table(summary))
        say(f"Of {len(cases)} cases: {counts}; see {out / 'summary.json'}.")
    return outcomes


def _outcomes(
    settings: BatchSettings, cases: Sequence[BatchCase], out: Path, progress: Progress, termination: Termination
) -> Iterator[Outcome]:
    if settings.engine == "ray":
        from scoreinv.batch.cluster import work_on_cluster

        yield from work_on_cluster(settings, cases, out)
        return
    for case in cases:
        termination.check()
        progress.case_started(case)

        def told(method: str, number: int, name: str = case.name) -> None:
            progress.image(name, method, number)

        yield work(case, out, settings.outputs, progress.shown, termination.writing, told)
