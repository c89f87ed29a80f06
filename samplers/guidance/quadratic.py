"""What the measurements say about images near a given one: the likelihood to second order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.operators.precondition import local_gain
from scoreinv.operators.solvers import CGResult, Map, conjugate_gradients, dot, power_iteration
from scoreinv.samplers.state import Problem


@dataclass(frozen=True)
class Quadratic:
    """-log p(y | x + delta) = misfit - <pull, delta> + <delta, H delta> / 2 in network units, H = s^2 A^H W A.

    Exact for Gaussian noise; for others the likelihood's own (g, w) at A(s x + o) make it.

    Attributes:
        problem: operator, measurements, likelihood, prior.
        misfit: negative log-likelihood at x, (*batch).
        pull: -s A^H g, (*batch, *image).
        weight: w >= 0, (*batch, *measurements).
        even: s^2 w of each item where all its data have the same w, (*batch, 1, ...), for operators whose normal map is
            faster than both ways in turn; None elsewhere.
        precision: how much larger pull and weight are than the likelihood says, a number or (*batch, 1, ...).
    """

    problem: Problem
    misfit: Tensor
    pull: Tensor
    weight: Tensor
    even: Tensor | None = None
    precision: float | Tensor = 1.0

    @classmethod
    def at(cls, x: Tensor, problem: Problem) -> Quadratic:
        """Around images x, (*batch, *image), network units."""
        A, likelihood, intensity = problem.operator, problem.likelihood, problem.prior.intensity
        expected = A.forward(intensity.to_image(x))
        g, w = likelihood.quadratic(expected, problem.measurements)
        misfit = likelihood.negative_log(expected, problem.measurements, len(A.out_shape))
        flat = w.flatten(-len(A.out_shape))
        first = flat[..., :1].reshape(*flat.shape[:-1], *[1] * len(A.in_shape))
        even = intensity.scale**2 * first if bool((flat == flat[..., :1]).all()) else None
        return cls(problem, misfit, -intensity.scale * A.adjoint(g), w, even)

    @property
    def ndim(self) -> int:
        """Number of image axes."""
        return len(self.problem.operator.in_shape)

    @property
    def measured(self) -> int:
        """Number of measurement axes."""
        return len(self.problem.operator.out_shape)

    def scaled(self, factor: Tensor) -> Quadratic:
        """The same measurements at another precision, factor (*batch, 1, ...) times it."""
        flat = factor.flatten(-self.ndim).squeeze(-1)
        weight = self.weight * flat.reshape(*flat.shape, *[1] * self.measured)
        even = None if self.even is None else self.even * factor
        precision = self.precision * factor
        return Quadratic(self.problem, self.misfit * flat, self.pull * factor, weight, even, precision)

    def curvature(self, delta: Tensor) -> Tensor:
        """H delta."""
        A = self.problem.operator
        if self.even is not None:
            return self.even * A.normal(delta)
        return self.problem.prior.intensity.scale**2 * A.adjoint(self.weight * A.forward(delta))

    def along(self, delta: Tensor) -> Tensor:
        """<delta, H delta>, (*batch, 1, ...) with an axis of length one for every image axis."""
        A = self.problem.operator
        Ad = A.forward(delta)
        value = dot(Ad, self.weight * Ad, len(A.out_shape)).flatten(-len(A.out_shape)).squeeze(-1)
        return self.problem.prior.intensity.scale**2 * value.reshape(*value.shape, *[1] * self.ndim)

    def solve(
        self,
        b: Tensor,
        damping: float | Tensor,
        iterations: int,
        tolerance: float,
        penalty: Map | None = None,
    ) -> CGResult:
        """(damping I + H + penalty)^-1 b by conjugate gradients, preconditioned.

        By what the operator knows of its inverse, where all data weigh the same, or else by how strongly each place is
        seen.

        Without damping there is no preconditioner either: the solution of least norm is wanted, which it would bend.
        """

        strength = torch.as_tensor(damping, dtype=b.real.dtype, device=b.device)

        def matrix(v: Tensor) -> Tensor:
            out = self.curvature(v).addcmul_(strength, v)
            return out if penalty is None else out.add_(penalty(v))

        if not isinstance(damping, Tensor) and damping == 0:
            return conjugate_gradients(matrix, b, self.ndim, iterations, tolerance)
        near = None if self.even is None else self.problem.operator.inverse_near(self.even, strength)
        if near is None:
            diagonal = 1 / (strength + self.precision * featureless_gain(self.problem))
            return conjugate_gradients(matrix, b, self.ndim, iterations, tolerance, lambda v: diagonal * v)
        return conjugate_gradients(matrix, b, self.ndim, iterations, tolerance, near)


def featureless_gain(problem: Problem) -> Tensor:
    """The diagonal of H at a featureless image, (*image): the same for every sample, whatever its company."""
    if "gain" not in problem.cache:
        problem.cache["gain"] = local_gain(_featureless(problem).curvature, *_image_of(problem))
    gain: Tensor = problem.cache["gain"]
    return gain


def featureless_norm(problem: Problem) -> float:
    """The largest eigenvalue of H at a featureless image, which published constants are counted in."""
    if "norm" not in problem.cache:
        problem.cache["norm"] = power_iteration(_featureless(problem).curvature, *_image_of(problem))
    return float(problem.cache["norm"])


def _featureless(problem: Problem) -> Quadratic:
    shape, dtype, device = _image_of(problem)
    return Quadratic.at(torch.zeros(shape, dtype=dtype, device=device), problem)


def _image_of(problem: Problem) -> tuple[tuple[int, ...], torch.dtype, torch.device]:
    return problem.operator.in_shape, problem.operator.in_dtype, problem.measurements.device
