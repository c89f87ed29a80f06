"""What became of the cases, in one file and in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scoreinv.batch.case import Outcome
from scoreinv.batch.folders import Places, in_turn
from scoreinv.config import BatchCase
from scoreinv.io import write_json


def write_summary(out: Path, cases: Sequence[BatchCase], own: Sequence[Outcome]) -> dict[str, Any]:
    """`summary.json` of all cases, whoever worked on them: as their folders say, this process's own as it knows.

    Returns:
        counts by status and, by case, status, reason of a failure, and metrics.
    """
    with in_turn(out):
        rows = {case.name: _row(Places(out, case.name)) for case in cases}
        rows |= {outcome.name: _row_of(outcome) for outcome in own if outcome.status != "busy"}
        counts = dict.fromkeys(("complete", "failed", "pending"), 0)
        for row in rows.values():
            counts[row["status"]] += 1
        summary = {"counts": counts, "cases": rows}
        write_json(out / "summary.json", summary)
    return summary


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: how each case ended, with the first metric of every method, and why those failed that did."""
    width = max([4, *(len(outcome.name) for outcome in outcomes)])
    lines = [
        f"| {'case':{width}} | status   | seconds | result |",
        f"|{'-' * (width + 2)}|----------|--------:|--------|",
    ]
    for outcome in outcomes:
        cells = f"| {outcome.name:{width}} | {outcome.status:8} | {outcome.seconds:7.1f} | "
        lines.append(cells + (outcome.reason or _metrics(outcome.metrics or {})) + " |")
    return "\n".join(lines)


def _metrics(metrics: dict[str, dict[str, float]]) -> str:
    texts = []
    for method, row in metrics.items():
        name, value = next(iter(row.items()))
        texts.append(f"{method} {'-' if value is None else f'{value:.4g}'} {_UNITS[name]}")
    return ", ".join(texts)


_UNITS = {"psnr": "dB", "held_out": "held out", "seconds": "s"}


def _row(places: Places) -> dict[str, Any]:
    found = places.outcome() or {}
    if found.get("status") not in ("complete", "failed"):  # nobody of ours wrote it
        found = {"status": "pending"}
    return {key: found[key] for key in ("status", "reason", "metrics") if key in found}


def _row_of(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"status": outcome.status}
    if outcome.reason is not None:
        row["reason"] = outcome.reason
    if outcome.metrics is not None:
        row["metrics"] = outcome.metrics
    return row
