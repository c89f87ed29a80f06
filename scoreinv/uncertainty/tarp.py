"""Tests of accuracy with random points: coverage of whole images instead of voxels.

Lemos et al. 2023 (Sampling-based accuracy testing of posterior estimators, ICML), algorithm 2: of balls around a point
chosen without the truth, the one that reaches the truth holds a share of the samples; over many cases that share is
uniform on [0, 1] if the samples are of the posterior. Shares of n samples take n + 1 values, each as likely, so that of
few samples they are below 95 % less often than that; here each is spread evenly over the part of [0, 1] that its rank
stands for, which makes coverage the level for any n.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor


def closer_share(samples: Tensor, truth: Tensor, point: Tensor) -> float:
    """Share of samples (samples, *image) nearer to the point than the truth is, both (*image)."""
    far = torch.linalg.vector_norm((samples - point).flatten(1).double(), dim=1)
    return float((far < torch.linalg.vector_norm((truth - point).flatten().double())).double().mean())


def expected_coverage(shares: Sequence[float], levels: Sequence[float], samples: int) -> list[float]:
    """Of the cases, how many have a share of so many samples below each level; the level itself if all is well."""
    ranks = _ranks(shares, samples)
    return [float(np.clip(level * (samples + 1) - ranks, 0, 1).mean()) for level in levels]


def p_value(shares: Sequence[float], samples: int) -> float:
    """Of shares as uneven as these if the samples were of the posterior (Kolmogorov-Smirnov); small refutes it."""
    ranks = _ranks(shares, samples)
    jitter = np.random.default_rng(0).uniform(size=len(ranks))
    return float(stats.kstest((ranks + jitter) / (samples + 1), "uniform").pvalue)


def _ranks(shares: Sequence[float], samples: int) -> NDArray[np.float64]:
    """How many samples are nearer than the truth, (cases,)."""
    return np.rint(np.asarray(shares, dtype=np.float64) * samples)
