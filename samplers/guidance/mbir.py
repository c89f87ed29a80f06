"""DiffusionMBIR: one iteration of ADMM for total variation across slices, on the noisy state itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.samplers.coupling import LinearCoupling
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.quadratic import Quadratic, featureless_norm
from scoreinv.samplers.guidance.splitting import Splitting
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import positive, within
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class MBIR(Guidance):
    """Chung et al. 2023 (CVPR, DiffusionMBIR), eq. 15 to 18 and algorithm 1.

    After each step z moves towards argmin -log p(y | z) + lambda |D z|_1 by one outer iteration with a conjugate
    gradient iteration inside; splitting and dual stay for the next. The coupling's rho is the paper's for an operator
    whose ||A^T A|| is `norm`, and its strength lambda / rho over data_std, so that they hold for any geometry: the
    published 10 and 0.004 of an image in [0, 1] are `TVz(strength=0.016, rho=10.0)`. Without a coupling it is a data
    step alone.

    Args:
        norm: ||A^T A|| of the operator that rho was chosen for, about 400 for the published one.
        iterations: of conjugate gradients.
    """

    couples = (LinearCoupling,)
    norm: float = 400.0
    iterations: int = 1

    def __post_init__(self) -> None:
        positive(self, "norm")
        within(self, 1, math.inf, "iterations")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        x0 = problem.prior.denoise(z, sigma)
        return Estimate(x0, (z - x0) / sigma, x0)

    def correct(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Tensor:
        A, coupling = problem.operator, problem.coupling
        data = Quadratic.at(z, problem)
        if not isinstance(coupling, LinearCoupling):
            return z + data.solve(data.pull, 0.0, self.iterations, 1e-4).x
        D, rho = coupling.map(A.in_shape, A.in_dtype), coupling.rho * featureless_norm(problem) / self.norm
        if "coupling" not in history:
            zeros = torch.zeros(*z.shape[: z.ndim - len(D.in_shape)], *D.out_shape, dtype=z.dtype, device=z.device)
            history["coupling"] = zeros, zeros
        splitting = Splitting(coupling, D, rho, *history["coupling"])
        z = z + splitting.solve(z, data, 0.0, self.iterations, 1e-4).x
        history["coupling"] = splitting.moved(z, coupling.strength * problem.prior.data_std)
        return z
