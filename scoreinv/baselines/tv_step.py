"""The proximal step of isotropic total variation, on the dual."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scoreinv.baselines.differences import gradient, length, transposed_gradient

_DUAL_STEPS = 3


class TVStep:
    """argmin_x ||x - p||_D^2 / (2 gamma) + weight sum |C grad x| (, x >= 0), for one p after another.

    Each call makes a few accelerated steps on the dual from where the call before left it, so that a sequence of p that
    converges gets a sequence of solutions that does. Beck and Teboulle 2009, IEEE TIP 18:2419, algorithm FGP, in the
    metric D / gamma. Duals are kept as fractions of the weight, |q| <= 1, which fit whatever gamma comes next.

    Args:
        D: metric, (*image) > 0.
        scales: C, what a forward difference along each axis is multiplied by.
        weight: of total variation.
        nonnegative: with x >= 0.
        dtype: of the image, real or complex. The length of a complex gradient is taken over both components, so that
            phase costs as size does.
    """

    def __init__(
        self, D: Tensor, scales: Sequence[float], weight: float, nonnegative: bool, dtype: torch.dtype
    ) -> None:
        self._D, self._scales, self._weight, self._nonnegative = D, tuple(scales), weight, nonnegative
        self._step = self._dual_step(1 / D)
        self._q = D.new_zeros((D.ndim, *D.shape), dtype=dtype)

    def __call__(self, p: Tensor, gamma: float) -> Tensor:
        amount = self._weight * gamma
        q, r, t = self._q, self._q.clone(), 1.0
        for _ in range(_DUAL_STEPS):
            q_next = gradient(self._primal(p, r, amount), self._scales).mul_(self._step / amount).add_(r)
            q_next.div_(length(q_next).clamp_(min=1))
            t_next = (1 + math.sqrt(1 + 4 * t**2)) / 2
            r = torch.sub(q_next, q, out=r).mul_((t - 1) / t_next).add_(q_next)
            q, t = q_next, t_next
        self._q = q
        return self._primal(p, q, amount)

    def _primal(self, p: Tensor, q: Tensor, amount: float) -> Tensor:
        """p - amount D^-1 grad^T C q, clipped: the x that belongs to a dual."""
        x = transposed_gradient(q, self._scales).mul_(-amount).div_(self._D).add_(p)
        return x.clamp_(min=0) if self._nonnegative else x

    def _dual_step(self, inverse: Tensor) -> Tensor:
        """Steps of a diagonal majoriser of C grad D^-1 grad^T C, one per voxel so that projections stay isotropic.

        (grad^T C q)_k sums two terms per axis, so its square is at most 2 sum(C^2) times the sum of their squares
        (Cauchy-Schwarz); q_k occurs there for voxel k and its neighbours, each divided by its own D.
        """
        worst = inverse.clone()
        for axis in range(inverse.ndim):
            n = inverse.shape[axis] - 1
            here = worst.narrow(axis, 0, n)
            torch.maximum(here, inverse.narrow(axis, 1, n), out=here)
        return 1 / (2 * sum(scale**2 for scale in self._scales) * (inverse + worst))
