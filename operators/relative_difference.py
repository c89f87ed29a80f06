"""The relative difference prior: neighbours differ little, in proportion to what they have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.operators.neighbours import Neighbours, Weight, pair


@dataclass(frozen=True)
class RelativeDifference:
    """R(x) = sum over pairs of neighbours j, k of w_jk (x_j - x_k)^2 / (x_j + x_k + gamma |x_j - x_k| + epsilon).

    Every pair counts once: the usual sum over all j and all their neighbours, halved. R is convex and, but for epsilon,
    R(c x) = c R(x). Nearly equal neighbours cost w d^2 / (2 x), very different ones about w d / (1 + gamma).

    R has the unit of the image, its gradient none and its curvature one over it. Images are
    (*batch, *neighbours.shape), real and >= 0, which is not looked at.

    Args:
        neighbours: the pairs and their weights, w_jk >= 0 without unit.
        epsilon: keeps R smooth where the image is 0; unit of the image, say a thousandth of its bright parts.
        gamma: how soon a difference counts as an edge; at least 1, so that R can be majorised voxel by voxel.

    Raises:
        ValueError: for settings out of their range.

    Nuyts et al. 2002, IEEE TNS 49:56.
    """

    neighbours: Neighbours
    epsilon: float
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf or not 1 <= self.gamma < math.inf:
            raise ValueError(
                f"RelativeDifference: epsilon {self.epsilon}, gamma {self.gamma}; expected epsilon > 0 and gamma >= 1"
            )

    def value(self, x: Tensor) -> Tensor:
        """R, (*batch, *image) -> (*batch)."""
        parts = [
            (w * (a - b).square() / self._size(a, b)).flatten(-len(self.neighbours.shape)).sum(-1)
            for a, b, w in self._pairs(x)
        ]
        return torch.stack(parts).sum(0)

    def gradient(self, x: Tensor) -> Tensor:
        """dR/dx, (*batch, *image) -> the same."""
        gradient = torch.zeros_like(x)
        for (a, b, w), (at_a, at_b) in zip(self._pairs(x), self._views(gradient), strict=True):
            slope = w * (a - b) / self._size(a, b).square()
            common = 2 * self.epsilon + self.gamma * (a - b).abs() + a + b
            at_a += slope * (common + 2 * b)
            at_b -= slope * (common + 2 * a)
        return gradient

    def curvature(self, x: Tensor) -> Tensor:
        """c with R(u) <= R(x) + <gradient(x), u - x> + <c, (u - x)^2> / 2 for all u >= 0; of the shape of x.

        In one voxel a pair has the parabola of curvature (t + 2 B) / (t + B)^2, t = (gamma - 1) |x_j - x_k| and
        B = 2 x_k + epsilon, above it; voxels part at twice that (De Pierro 1995, IEEE TMI 14:132).
        """
        curvature = torch.zeros_like(x)
        for (a, b, w), (at_a, at_b) in zip(self._pairs(x), self._views(curvature), strict=True):
            t = (self.gamma - 1) * (a - b).abs()
            for other, at in ((b, at_a), (a, at_b)):
                flat = 2 * other + self.epsilon
                at += 2 * w * (t + 2 * flat) / (t + flat).square()
        return curvature

    def _size(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b + self.gamma * (a - b).abs() + self.epsilon

    def _pairs(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor, Weight]]:
        for offset, w in self.neighbours:
            yield *pair(x, offset), w

    def _views(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The two voxels of every pair, to add to."""
        for offset in self.neighbours.offsets:
            yield pair(x, offset)
