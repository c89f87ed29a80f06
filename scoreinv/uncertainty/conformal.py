"""Factors that make intervals cover as often as they claim, learned where the truth is known.

The split-conformal way (Angelopoulos et al. 2022, Image-to-image regression with distribution-free uncertainty
quantification, ICML): the scores |truth - mean| / std of a calibration set, and the quantile of them that the level
asks for. Voxels of one image hang together, so that what is exchangeable is the case: every case weighs the same. The
factor is the one at which the calibration cases are covered as the level says on average, which held-out cases then
are up to the chance of the draw of cases; `standard_error` says how much that is. The worst-case margin of conformal
risk control, (n + 1) level / n, is left out: of 40 cases it would ask for 92.5 % instead of 90 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scoreinv.uncertainty.coverage import Observed, coverage


def learned_factor(cases: Sequence[Observed], level: float) -> float:
    """Smallest factor at which mean +- factor std covers at least `level` of the calibration cases, on average.

    Raises:
        ValueError: if there are fewer than two cases, or so many voxels have no spread that no factor covers them.
    """
    if len(cases) < 2:
        raise ValueError(f"learned_factor: {len(cases)} calibration cases, expected at least 2; give more")
    scores = np.concatenate([case.deviations for case in cases])
    weights = np.concatenate([np.full(len(case.deviations), 1 / len(case.deviations)) for case in cases])
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) / len(cases)
    factor = float(scores[order][min(int(np.searchsorted(reached, level - 1e-12)), len(scores) - 1)])
    if not math.isfinite(factor):
        raise ValueError(
            f"learned_factor: {np.isinf(scores).mean():.0%} of the voxels have no spread, which no factor widens to "
            f"{level:.0%}; use a method that samples the posterior, such as dds with split ddim, and more samples"
        )
    return factor


def standard_error(cases: Sequence[Observed], factor: float) -> float:
    """Of the mean coverage of a set of cases, from how cases differ."""
    covered = coverage(cases, [factor])[:, 0]
    return float(covered.std(ddof=1) / math.sqrt(len(covered)))
