"""Curves of observed against claimed coverage, of `calibration.json` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scoreinv.uncertainty import Calibration


def curves(path: Path, title: str) -> list[dict[str, Any]]:
    """Plots for a page, as title, and name and points of each curve; none where nothing was tested.

    One of the intervals before and after they were calibrated, and one of the whole image at once (TARP).

    Raises:
        ValueError: if the file is damaged or of another version.
    """
    found = Calibration.load(path)
    plots = []
    if found.before is not None and found.after is not None:
        before, after = found.before.coverage, found.after.coverage
        plots.append(
            {"title": title, "curves": [_curve("before", found.levels, before), _curve("after", found.levels, after)]}
        )
    if found.tarp is not None:
        drawn = _curve("coverage", found.tarp["levels"], found.tarp["coverage"])
        plots.append({"title": f"{title}, TARP", "curves": [drawn]})
    return plots


def _curve(name: str, levels: list[float], coverage: list[float]) -> dict[str, Any]:
    return {"name": name, "points": [list(point) for point in zip(levels, coverage, strict=True)]}
