"""What became of the cases, in one file and in one table."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from scoreinv.batch.case import Outcome
from scoreinv.batch.folders import Places, in_turn
from scoreinv.config import BatchCase
from scoreinv.io import write_json
from scoreinv.report import table as metrics_table
from scoreinv.report.batch import title


def write_summary(out: Path, cases: Sequence[BatchCase], own: Sequence[Outcome]) -> dict[str, Any]:
    """`summary.json` of all cases, whoever worked on them: as their folders say, this process's own as it knows.

    Returns:
        counts by status; means of the metrics over cases of a kind; and, by case, status, reason of a failure,
        and metrics.
    """
    with in_turn(out):
        rows = {case.name: _row(Places(out, case.name)) for case in cases}
        rows |= {outcome.name: _row_of(outcome) for outcome in own if outcome.status != "busy"}
        counts = dict.fromkeys(("complete", "failed", "pending"), 0)
        for row in rows.values():
            counts[row["status"]] += 1
        summary = {"counts": counts, "means": means(cases, rows), "cases": rows}
        write_json(out / "summary.json", summary)
    return summary


def means(cases: Sequence[BatchCase], rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Over the complete cases of every kind by the same methods.

    A metric that is no number for one method of a case counts for none of them there, so that all have the same cases.
    """
    kinds: dict[str, dict[str, Any]] = {}
    for case in cases:
        if rows[case.name]["status"] == "complete":
            metrics = rows[case.name]["metrics"]
            kind = kinds.setdefault(repr((case.kind, list(metrics))), {"of": case.kind, "cases": []})
            kind["cases"].append(metrics)
    return [{"of": kind["of"], "cases": len(kind["cases"]), "metrics": _mean(kind["cases"])} for kind in kinds.values()]


def _mean(cases: Sequence[dict[str, dict[str, float | None]]]) -> dict[str, dict[str, float]]:
    result: dict[str, dict[str, float]] = {method: {} for method in cases[0]}
    for metric in dict.fromkeys(key for row in cases[0].values() for key in row):
        methods = [method for method, row in cases[0].items() if metric in row]
        values = [[case[method].get(metric) for method in methods] for case in cases]
        known = [[v for v in row if v is not None and isfinite(v)] for row in values]
        known = [row for row in known if len(row) == len(methods)]
        for method, column in zip(methods, zip(*known, strict=True), strict=False):
            result[method][metric] = fmean(column)
    return result


def means_table(summary: dict[str, Any]) -> str:
    """Markdown: a table of means over every kind of cases, under what they have alike."""
    return "\n\n".join(
        f"{title(kind['of'])} (means of {kind['cases']})\n\n{metrics_table(kind['metrics'])}"
        for kind in summary["means"]
    )


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
