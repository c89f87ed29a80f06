"""Curves of observed against nominal coverage, as far as `calibration.json` files hold any.

A curve is a list of as many shares as its neighbour `levels` (or `nominal`) has, under a name that speaks of coverage:
`{"levels": [0.5, 0.9], "coverage": [0.31, 0.62], "coverage_calibrated": [0.5, 0.9]}`, at any depth of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LEVELS = ("levels", "nominal")
_CURVES = ("cover", "observed", "empirical", "before", "after")


def curves(tree: Any, title: str) -> Iterator[dict[str, Any]]:
    """A plot for every mapping with levels and curves: its title, and name and points of each curve."""
    if not isinstance(tree, Mapping):
        return
    levels = next((tree[name] for name in _LEVELS if _shares(tree.get(name))), None)
    if levels is not None:
        found = [
            {"name": str(name).replace("_", " "), "points": [list(point) for point in zip(levels, values, strict=True)]}
            for name, values in tree.items()
            if any(part in str(name) for part in _CURVES) and _shares(values) and len(values) == len(levels)
        ]
        if found:
            yield {"title": title, "curves": found}
    for name, branch in tree.items():
        yield from curves(branch, f"{title}, {name}")


def _shares(values: Any) -> bool:
    return (
        isinstance(values, list) and len(values) > 1 and all(isinstance(v, int | float) and 0 <= v <= 1 for v in values)
    )
