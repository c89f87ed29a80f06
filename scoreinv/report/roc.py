"""A picture of how well methods tell what is there from what is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scoreinv.io import atomic_path


def roc_curves(path: Path, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """One plot a run, one curve a method.

    Args:
        path: PNG file, written whole or not at all.
        found: by run and method, `false_positives`, `true_positives` and `area`.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(3.4 * len(found), 3.6), layout="constrained")
    axes = fig.subplots(1, len(found), squeeze=False)[0]
    for ax, (name, methods) in zip(axes, found.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        for method, curve in methods.items():
            ax.plot(curve["false_positives"], curve["true_positives"], label=f"{method}, area {curve['area']:.2f}")
        ax.set(title=name, xlabel="invented", ylabel="found", aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        ax.legend(fontsize=8, loc="lower right")
    with atomic_path(path) as temporary:
        fig.savefig(temporary, dpi=110)
