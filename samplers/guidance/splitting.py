"""Variable splitting: how a coupling enters a data step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scoreinv.operators import LinearOperator
from scoreinv.operators.solvers import CGResult
from scoreinv.samplers.coupling import LinearCoupling
from scoreinv.samplers.guidance.quadratic import Quadratic


@dataclass(frozen=True)
class Splitting:
    """One iteration of ADMM (Boyd et al. 2011, eq. 3.5 to 3.7): rho |D x - d + u|^2 / 2 draws the image x to d.

    Attributes:
        coupling: whose D and prox these are.
        D: its map.
        rho: penalty, a number or one for each sample.
        d, u: the copy of D x and its scaled dual, (samples, *D.out_shape).
    """

    coupling: LinearCoupling
    D: LinearOperator
    rho: float | Tensor
    d: Tensor
    u: Tensor

    def solve(self, x: Tensor, data: Quadratic, damping: float | Tensor, iterations: int, tolerance: float) -> CGResult:
        """The step delta from x that minimises data, damping |delta|^2 / 2 and penalty together."""
        b = data.pull + self.rho * self.D.adjoint((self.d - self.u).sub_(self.D.forward(x)))
        return data.solve(b, damping, iterations, tolerance, lambda delta: self.rho * self.D.normal(delta))

    def moved(self, x: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        """(d, u) of the next iteration."""
        Dx = self.D.forward(x)
        d = self.coupling.shrink(Dx + self.u, threshold)
        return d, self.u + Dx - d
