"""Pictures and tables people look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from scoreinv.io import atomic_path
from scoreinv.metrics import Scale

THICK = 2.5  # slices thicker than so many of their pixels make no picture across them


def figure(
    path: Path,
    images: Mapping[str, Tensor],
    reference: Tensor | None,
    spacing: tuple[float, float, float],
    scale: Scale,
) -> None:
    """Planes of every method, and under each its error where there is a reference.

    Of a volume one plane in each direction; of slices far thicker than their pixels some of these alone.

    Args:
        path: PNG file, written whole or not at all.
        images: (z, y, x) or (y, x) by method.
        reference: of the same shape, drawn first.
        spacing: voxel size (z, y, x), mm.
        scale: what is shown of them.
    """
    # Not pyplot: it would choose a backend for whoever calls, and keep the figure open if writing fails.
    from matplotlib.figure import Figure

    shown = {
        name: scale.read(image.reshape(-1, *image.shape[-2:]))
        for name, image in (({} if reference is None else {"reference": reference}) | dict(images)).items()
    }
    shape = next(iter(shown.values())).shape
    planes = _planes((shape[0], shape[1], shape[2]), spacing)
    heights = [
        max((shape[0] if axis else shape[1]) * aspect, 0.15 * shape[1])
        for axis, _, aspect in planes
        for _ in range(1 if reference is None else 2)
    ]
    width = 2.6
    height = sum(heights) * width / shape[2]
    whole = height + 0.5 + 0.2  # with titles and caption
    fig = Figure(figsize=(width * len(shown), whole))
    axes = fig.subplots(len(heights), len(shown), squeeze=False, gridspec_kw={"height_ratios": heights})
    for column, (name, image) in enumerate(shown.items()):
        error = None if reference is None else image - shown["reference"]
        rows = [
            (plane, aspect, limits, colours)
            for axis, index, aspect in planes
            for plane, limits, colours in _panels(image, error, axis, index, scale)
        ]
        for row, (plane, aspect, (low, high), colours) in enumerate(rows):
            ax = axes[row, column]
            ax.imshow(plane, cmap=colours, vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
            ax.set_axis_off()
            if row == 0:
                ax.set_title(name, fontsize=11)
    for ax in axes[:, 0]:
        if reference is not None and ax.get_subplotspec().rowspan.start % 2 == 1:
            ax.clear()
            ax.set_axis_off()
            ax.set_aspect("auto")
            ax.text(0.98, 0.5, "error", ha="right", va="center", transform=ax.transAxes, fontsize=8)
    fig.text(0.005, 0.05 / whole, _caption(scale, reference is not None), fontsize=8)
    edges = {"left": 0.005, "right": 0.995, "bottom": 0.2 / whole, "top": 1 - 0.35 / whole}
    fig.subplots_adjust(**edges, wspace=0.02, hspace=0.03)
    with atomic_path(path) as temporary:
        fig.savefig(temporary, dpi=110)


def table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown table of metrics by method; a dash where one is not defined."""
    columns = {
        "held_out": ("held-out error", ".4f"),
        "psnr": ("PSNR (dB)", ".2f"),
        "ssim": (" SSIM", ".3f"),
        "vif": ("  VIF", ".3f"),
        "seconds": ("seconds", ".1f"),
        "memory": ("  MiB", ".0f"),
        "parameters": ("parameters", ",.0f"),
    }
    columns = {key: column for key, column in columns.items() if any(key in row for row in metrics.values())}
    width = max([6, *map(len, metrics)])
    titles = [title for title, _ in columns.values()]
    lines = [f"| {'method':{width}} | " + " | ".join(titles) + " |"]
    lines.append(f"|{'-' * (width + 2)}|" + "|".join("-" * (len(title) + 1) + ":" for title in titles) + "|")
    for method, row in metrics.items():
        values = [(row.get(key, math.nan), *column) for key, column in columns.items()]
        cells = [
            f"{'-' if math.isnan(value) else format(value, style):>{len(title)}}" for value, title, style in values
        ]
        lines.append(f"| {method:{width}} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _caption(scale: Scale, with_error: bool) -> str:
    """What the colours mean."""
    low, high = scale.window
    order = "white to black" if scale.colours.endswith("_r") else "black to white"
    images = f"{order}: {low:.4g} to {high:.4g} {scale.unit}"
    return (
        f"{images}; blue to red: errors from -{scale.error:.4g} to {scale.error:.4g} {scale.unit}"
        if with_error
        else images
    )


def _planes(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> list[tuple[int, int, float]]:
    """Axis, index along it and aspect of the planes that are shown."""
    depth = shape[0]
    if depth == 1 or spacing[0] > THICK * max(spacing[1:]):
        shown = sorted({depth // 4, depth // 2, 3 * depth // 4})
        return [(0, z, spacing[1] / spacing[2]) for z in shown]
    aspects = (spacing[1] / spacing[2], spacing[0] / spacing[2], spacing[0] / spacing[1])
    return [(axis, n // 2, aspect) for axis, (n, aspect) in enumerate(zip(shape, aspects, strict=True))]


def _panels(
    image: Tensor, error: Tensor | None, axis: int, index: int, scale: Scale
) -> list[tuple[np.ndarray, tuple[float, float], str]]:
    """One plane across `axis`, superior up, and its error."""
    panels = [(_plane(image, axis, index), scale.window, scale.colours)]
    return panels if error is None else [*panels, (_plane(error, axis, index), (-scale.error, scale.error), "RdBu_r")]


def _plane(volume: Tensor, axis: int, index: int) -> np.ndarray:
    plane = volume.select(axis, index).cpu().numpy()
    return plane if axis == 0 else plane[::-1]
