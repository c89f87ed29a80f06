"""A picture of maps of one volume, each with a bar of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scoreinv.io import atomic_path

COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """A map and how it is shown.

    Attributes:
        title: above it.
        image: (z, y, x), real.
        low, high: ends of its bar.
        colours: what it runs over; matplotlib's name.
        unit: beside the bar.
    """

    title: str
    image: Tensor
    low: float
    high: float
    colours: str
    unit: str


def maps(path: Path, panels: Sequence[Panel], spacing: tuple[float, float, float]) -> None:
    """The middle axial plane of every map.

    Args:
        path: PNG file, written whole or not at all.
        panels: of one shape.
        spacing: voxel size (z, y, x), mm.
    """
    from matplotlib.figure import Figure

    depth, height, width = panels[0].image.shape
    aspect = spacing[1] / spacing[2]
    rows = -(-len(panels) // COLUMNS)
    columns = min(COLUMNS, len(panels))
    fig = Figure(figsize=(3.2 * columns, rows * (2.7 * height * aspect / width + 0.4)), layout="compressed")
    axes = fig.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, panels, strict=False):
        shown = ax.imshow(
            panel.image[depth // 2].cpu().numpy(),
            cmap=panel.colours,
            vmin=panel.low,
            vmax=panel.high,
            aspect=aspect,
            interpolation="nearest",
        )
        ax.set_title(panel.title, fontsize=10)
        bar = fig.colorbar(shown, ax=ax, fraction=0.046, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        bar.set_label(panel.unit, fontsize=7)
    with atomic_path(path) as temporary:
        fig.savefig(temporary, dpi=110, bbox_inches="tight")
