"""What neighbouring slices have in common, for priors that see one slice at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.linear import LinearOperator
from scoreinv.samplers.settings import positive, within


class Coupling(ABC):
    """A penalty lambda R(D x) on a linear map D of the image.

    Strengths are in units of r, how far the estimate may be from the truth: strong while the image is uncertain and
    fading as it becomes known.

    Attributes:
        strength: threshold of the prox over r.
        rho: ADMM penalty times r^2.
    """

    strength: float
    rho: float

    @abstractmethod
    def map(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """D for images of this shape."""

    @abstractmethod
    def shrink(self, d: Tensor, threshold: float) -> Tensor:
        """Prox of threshold * R."""

    @abstractmethod
    def prox(self, x: Tensor, threshold: float, ndim: int) -> Tensor:
        """argmin_u |u - x|^2 / 2 + threshold R(D u), for methods without a linear solve to put D in."""


@dataclass(frozen=True)
class TVz(Coupling):
    """Total variation across slices, R(D x) = sum |x_{k+1} - x_k| along `axis` (Chung et al. 2023, DiffusionMBIR).

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
