"""HyViP: which views are shown, so that one network learns to work with any number of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]  # of views, as fractions of the arc, in [0, 1)


def hybrid_views(rng: np.random.Generator, few: int, all_views: int = 24) -> tuple[Positions, Positions]:
    """Evenly spread views, and others that fill up to a second, denser even spread.

    Both sets are uniform with a random offset each. The auxiliary views are the dense set without its best match to the
    few (`match`), so that the union of both looks like a dense set whatever the number of the few.

    Args:
        rng: where offsets come from.
        few: views that features of points are taken from.
        all_views: few and auxiliary ones together, for features of the volume.

    Returns:
        (few,) and (all_views - few,) positions, fractions of the arc.

    Raises:
        ValueError: unless 1 <= few <= all_views.

    DeepSparse, IEEE TMI 2026, section III.C, eq. 8.
    """
    if not 1 <= few <= all_views:
        raise ValueError(f"hybrid_views: few is {few}, expected 1 to {all_views}, the number of all views")
    shown, dense = (spread(n, float(rng.random())) for n in (few, all_views))
    return shown, np.delete(dense, match(shown, dense))


def spread(views: int, offset: float) -> Positions:
    """Evenly spaced positions; offset in [0, 1) of a step."""
    return (np.arange(views) + offset) / views


def match(few: Positions, dense: Positions) -> NDArray[np.intp]:
    """For each of the few one of the dense views, none twice, with the smallest sum of distances around the arc."""
    from scipy.optimize import linear_sum_assignment

    apart = np.abs(few[:, None] - dense)
    _, chosen = linear_sum_assignment(np.minimum(apart, 1 - apart))
    return np.asarray(chosen)
