"""Decomposed diffusion sampling: the data enter through a few conjugate-gradient iterations around x0.

Chung, Lee and Ye 2024 (ICLR, eq. 12 to 14) move the denoised estimate towards the data within a Krylov space, without
differentiating the network. Here that step is the posterior mean of a Gaussian around the estimate: with r how far it
may be from the truth, and (g, w) gradient and weight of the likelihood at A(s x0 + o),

    (I / r^2 + s^2 A^H W A + rho D^H D) delta = -s A^H g + rho D^H (d - u - D x0),    x = x0 + delta.

The strength follows from the noise of the data and of the state, so nothing needs tuning between geometries, and the
step is exact for a Gaussian prior. The coupling's d and u are ADMM's splitting and its scaled dual; one ADMM iteration
is made a noise level, and both are kept for the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.operators.precondition import local_gain
from scoreinv.operators.solvers import conjugate_gradients
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.state import Estimate, Problem


@dataclass(frozen=True)
class DDS(Guidance):
    """Conjugate-gradient data consistency.

    Args:
        iterations: of conjugate gradients per noise level, at most.
        tolerance: relative residual at which they stop.
    """

    iterations: int = 10
    tolerance: float = 1e-4

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any]) -> Estimate:
        A, prior, coupling = problem.operator, problem.prior, problem.coupling
        s, ndim = prior.intensity.scale, len(A.in_shape)
        x0 = prior.denoise(z, sigma)
        r = prior.error(sigma)
        expected = A.forward(prior.intensity.to_image(x0))
        g, w = problem.likelihood.quadratic(expected, problem.measurements)
        # Both sides are multiplied by r^2, so that the matrix is I plus what the data and the neighbours add.
        b = -(r**2) * s * A.adjoint(g)
        if coupling is not None:
            D = coupling.map(A.in_shape, A.in_dtype)
            Dx0 = D.forward(x0)
            d, u = history.get("coupling", (Dx0, torch.zeros_like(Dx0)))
            b = b + coupling.rho * D.adjoint(d - u - Dx0)

        def matrix(delta: Tensor) -> Tensor:
            out = delta + (r * s) ** 2 * A.adjoint(w * A.forward(delta))
            return out if coupling is None else out + coupling.rho * D.normal(delta)

        if "gain" not in history:
            history["gain"] = _gain(problem)
        scale = 1 / (1 + r**2 * history["gain"])
        solution = conjugate_gradients(matrix, b, ndim, self.iterations, self.tolerance, lambda v: scale * v)
        x = x0 + solution.x
        if coupling is not None:
            Dx = D.forward(x)
            d = coupling.shrink(Dx + u, coupling.strength * r)
            history["coupling"] = (d, u + Dx - d)
        misfit = problem.likelihood.negative_log(expected, problem.measurements, len(A.out_shape))
        return Estimate(x, (z - x) / sigma, misfit, solution.iterations)


def _gain(problem: Problem) -> Tensor:
    """The diagonal of s^2 A^H W A for a featureless image: the same for every sample, whatever its company."""
    A, intensity = problem.operator, problem.prior.intensity
    flat = torch.zeros(A.in_shape, dtype=A.in_dtype, device=problem.measurements.device)
    _, w = problem.likelihood.quadratic(A.forward(intensity.to_image(flat)), problem.measurements)

    def normal(x: Tensor) -> Tensor:
        return intensity.scale**2 * A.adjoint(w * A.forward(x))

    return local_gain(normal, A.in_shape, A.in_dtype, flat.device)
