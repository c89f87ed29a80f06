"""What a batch's folder says, as plain values for a page."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote


def read_batch(folder: Path, target: Path) -> dict[str, Any]:
    """Counts, and of every case its status, reason, metrics and a link to its page, from `target`, if there is one.

    Raises:
        ValueError: if `summary.json` is damaged.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text())
        cases = [_case(name, row, target) for name, row in summary["cases"].items()]
        counts = {str(status): int(count) for status, count in summary["counts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not as `scoreinv batch` writes it ({error}); let the batch finish again") from None
    return {"name": folder.resolve().name, "counts": counts, "cases": cases}


def _case(name: str, row: dict[str, Any], target: Path) -> dict[str, Any]:
    page = target / name / "report.html"
    return {
        "name": name,
        "status": str(row["status"]),
        "reason": str(row.get("reason", "")),
        "metrics": {
            method: {
                key: value if isinstance(value, int | float) and math.isfinite(value) else None
                for key, value in values.items()
            }
            for method, values in row.get("metrics", {}).items()
        },
        "page": quote(os.path.relpath(page, target)) if Path(name).name == name and page.is_file() else None,
    }
