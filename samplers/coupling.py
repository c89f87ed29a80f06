"""What neighbouring slices have in common, for priors that see one slice at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.neighbours import Neighbours
from scoreinv.operators.relative_difference import RelativeDifference
from scoreinv.samplers.settings import positive, within


class Coupling(ABC):
    """A penalty R on images in network units.

    Strengths are in units of r, how far the estimate may be from the truth: strong while the image is uncertain and
    fading as it becomes known.

    Attributes:
        strength: threshold of the prox over r.
    """

    strength: float

    @abstractmethod
    def prox(self, x: Tensor, threshold: float, ndim: int) -> Tensor:
        """argmin_u |u - x|^2 / 2 + threshold R(u), for methods without a data step to put R in."""


class LinearCoupling(Coupling):
    """R(x) = P(D x) with a linear map D of the image and a simple prox of P: what ADMM takes.

    Attributes:
        rho: ADMM penalty times r^2.
    """

    rho: float

    @abstractmethod
    def map(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """D for images of this shape."""

    @abstractmethod
    def shrink(self, d: Tensor, threshold: float) -> Tensor:
        """Prox of threshold * P."""


class SmoothCoupling(Coupling):
    """R with a separable parabola above it at every image >= 0: what EM takes.

    Images are (*batch, *image) with `ndim` image axes.
    """

    @abstractmethod
    def value(self, x: Tensor, ndim: int) -> Tensor:
        """R(x), (*batch)."""

    @abstractmethod
    def quadratic(self, x: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
        """(g, c) with R(u) <= R(x) + <g, u - x> + <c, (u - x)^2> / 2 for all u >= 0, g the gradient."""

    def prox(self, x: Tensor, threshold: float, ndim: int, iterations: int = 20) -> Tensor:
        """Over u >= 0, by steps to the least of one parabola after another; each lowers the objective."""
        u = x.clamp(min=0)
        for _ in range(iterations):
            g, c = self.quadratic(u, ndim)
            u = ((x + threshold * (c * u - g)) / (1 + threshold * c)).clamp(min=0)
        return u


@dataclass(frozen=True)
class TVz(LinearCoupling):
    """Total variation across slices, R(x) = sum |x_{k+1} - x_k| along `axis` (Chung et al. 2023, DiffusionMBIR).

    Args:
        strength: shrinkage threshold over r.
        rho: ADMM penalty times r^2.
        axis: the slices' axis.
    """

    strength: float = 0.1
    rho: float = 10.0
    axis: int = 0

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "strength")
        positive(self, "rho")

    def map(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        return FiniteDifference(shape, self.axis, dtype)

    def shrink(self, d: Tensor, threshold: float) -> Tensor:
        return torch.sgn(d) * (d.abs() - threshold).clamp(min=0)

    def prox(self, x: Tensor, threshold: float, ndim: int, iterations: int = 20) -> Tensor:
        """By projected gradient on the dual (Chambolle 2004), whose step 1/4 = 1/||D||^2 is safe."""
        D = self.map(tuple(x.shape[-ndim:]), x.dtype)
        dual = torch.zeros_like(D.forward(x))
        for _ in range(iterations):
            dual = dual + D.forward(x - D.adjoint(dual)) / 4
            # Projection on |dual| <= threshold is what soft shrinkage leaves.
            dual = dual - self.shrink(dual, threshold)
        return x - D.adjoint(dual)


@dataclass(frozen=True)
class RDPz(SmoothCoupling):
    """`RelativeDifference` of neighbouring slices along `axis`, for images of activity, >= 0 (Singh et al. 2024).

    Inside MAP-EM of slack 3, on a procedural brain of 8 slices, 4 mm thick, at 0.6 counts per mm^3, no coupling gave
    26.8 dB, strengths of 0.5, 2 and 8 gave 30.8, 29.9 and 28.4, and TVz(0.2) 30.7.

    Args:
        strength: strength R / r is what it adds to -log p beside |x - x0|^2 / (2 r^2).
        gamma: how soon a difference counts as an edge, at least 1.
        epsilon: activity below which R is smooth, network units.
        axis: the slices' axis.
    """

    strength: float = 0.5
    gamma: float = 2.0
    epsilon: float = 1e-3
    axis: int = 0

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "strength")
        within(self, 1, math.inf, "gamma")
        positive(self, "epsilon")

    def value(self, x: Tensor, ndim: int) -> Tensor:
        return self._penalty(x, ndim).value(x)

    def quadratic(self, x: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
        penalty = self._penalty(x, ndim)
        return penalty.gradient(x), penalty.curvature(x)

    def _penalty(self, x: Tensor, ndim: int) -> RelativeDifference:
        return RelativeDifference(Neighbours.along(x.shape[-ndim:], self.axis), self.epsilon, self.gamma)
