"""What a batch's folder says, as plain values for a page."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote


def read_batch(folder: Path, target: Path) -> dict[str, Any]:
    """Counts, means, and of every case status, reason, metrics and a link to its page, from `target`, if it has one.

    Raises:
        ValueError: if `summary.json` is damaged.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text())
        cases = [_case(name, row, target) for name, row in summary["cases"].items()]
        means = [
            {"name": title(kind["of"]), "cases": int(kind["cases"]), "metrics": _numbers(kind["metrics"])}
            for kind in summary.get("means", [])
        ]
        counts = {str(status): int(count) for status, count in summary["counts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not as `scoreinv batch` writes it ({error}); let the batch finish again") from None
    return {"name": folder.resolve().name, "counts": counts, "means": means, "cases": cases}


def _case(name: str, row: dict[str, Any], target: Path) -> dict[str, Any]:
    page = target / name / "report.html"
    return {
        "name": name,
        "status": str(row["status"]),
        "reason": str(row.get("reason", "")),
        "metrics": _numbers(row.get("metrics", {})),
        "page": quote(os.path.relpath(page, target)) if Path(name).name == name and page.is_file() else None,
    }


def title(kind: dict[str, Any]) -> str:
    """What cases of a kind have alike, in words."""
    return ", ".join(f"no {path}" if value is None else f"{path}: {value}" for path, value in kind.items()) or "All"


def _numbers(metrics: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    return {
        method: {
            key: value if isinstance(value, int | float) and math.isfinite(value) else None
            for key, value in values.items()
        }
        for method, values in metrics.items()
    }
