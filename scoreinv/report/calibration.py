"""A picture of what intervals claim and hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scoreinv.io import atomic_path


def coverage_curves(path: Path, plots: Sequence[dict[str, Any]]) -> None:
    """One plot each of `coverage.curves`.

    Args:
        path: PNG file, written whole or not at all.
        plots: title, and name and points (claimed, held) of each curve.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(3.6 * len(plots), 3.8), layout="constrained")
    for ax, plot in zip(fig.subplots(1, len(plots), squeeze=False)[0], plots, strict=True):
        ax.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        for curve in plot["curves"]:
            ax.plot(*zip(*curve["points"], strict=True), marker="o", markersize=3, label=curve["name"])
        ax.set(title=plot["title"], xlabel="claimed", ylabel="held", aspect="equal", xlim=(0, 1), ylim=(0, 1))
        ax.legend(fontsize=8)
    with atomic_path(path) as temporary:
        fig.savefig(temporary, dpi=110)
