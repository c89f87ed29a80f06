"""DiffusionMBIR: one iteration of ADMM for total variation across slices, on the noisy state itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.quadratic import Quadratic, featureless_norm
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class MBIR(Guidance):
    """Chung et al. 2023 (CVPR, DiffusionMBIR), eq. 15 to 18 and algorithm 1.

    After each step z moves towards argmin -log p(y | z) + lambda |D z|_1 by one outer iteration with a conjugate
    gradient iteration inside; splitting and dual stay for the next. Constants count in the norm of the data term, so
    that they hold for any geometry. Without a coupling it is a data step alone.

    Args:
        rho: ADMM penalty over ||H||; the published 10 with their operator, whose ||A^T A|| is about 400.
        threshold: lambda / rho over data_std; the published 0.004 of an image in [0, 1].
        iterations: of conjugate gradients.
    """

    rho: float = 0.025
    threshold: float = 0.016
    iterations: int = 1

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0 = problem.prior.denoise(z, sigma)
        return Estimate(x0, (z - x0) / sigma, x0)

    def correct(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Tensor:
        A, coupling = problem.operator, problem.coupling
        data = Quadratic.at(z, problem)
        if coupling is None:
            return z + data.solve(data.pull, 0.0, self.iterations, 1e-4).x
        D, rho = coupling.map(A.in_shape, A.in_dtype), self.rho * featureless_norm(problem)
        Dz = D.forward(z)
        d, u = history.get("coupling", (torch.zeros_like(Dz), torch.zeros_like(Dz)))
        b = data.pull + rho * D.adjoint(d - u - Dz)
        z = z + data.solve(b, 0.0, self.iterations, 1e-4, lambda delta: rho * D.normal(delta)).x
        Dz = D.forward(z)
        d = coupling.shrink(Dz + u, self.threshold * problem.prior.data_std)
        history["coupling"] = (d, u + Dz - d)
        return z
