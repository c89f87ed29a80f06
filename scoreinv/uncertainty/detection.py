"""How well a score tells what is there from what is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class ROC:
    """Receiver operating characteristic, from the strictest threshold to the loosest.

    Attributes:
        false_positives, true_positives: rates, (points,), from 0 to 1.
        area: under the curve, 0.5 for a score that knows nothing; ties count half.
    """

    false_positives: NDArray[np.float64]
    true_positives: NDArray[np.float64]
    area: float


def roc(present: ArrayLike, absent: ArrayLike) -> ROC:
    """Curve of scores that should be high where something is present and low where it is absent.

    Raises:
        ValueError: if either is empty or not finite.
    """
    with_it, without = np.asarray(present, dtype=float), np.asarray(absent, dtype=float)
    if not (with_it.size and without.size and np.isfinite(with_it).all() and np.isfinite(without).all()):
        raise ValueError(
            f"roc: {with_it.size} scores of what is present, {without.size} of what is absent; expected finite ones "
            "of both"
        )
    thresholds = np.unique(np.concatenate([with_it, without]))[::-1]
    hit = np.concatenate([[0.0], [(with_it >= t).mean() for t in thresholds]])
    invented = np.concatenate([[0.0], [(without >= t).mean() for t in thresholds]])
    return ROC(invented, hit, float(np.trapezoid(hit, invented)))
