"""Iterations that need nothing of an operator but its application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CGResult:
    """What conjugate gradients found.

    Attributes:
        x: the solution, (*batch, *image).
        iterations: applications of the matrix.
        residual: final ||b - M x|| / ||b|| of each item, (*batch).
    """

    x: Tensor
    iterations: int
    residual: Tensor


def conjugate_gradients(
    matrix: Map, b: Tensor, ndim: int, iterations: int, tolerance: float = 1e-6, precondition: Map | None = None
) -> CGResult:
    """Solve M x = b from x = 0 for Hermitian positive semi-definite M.

    Hestenes and Stiefel 1952 (preconditioned form: Saad 2003, algorithm 9.1), with Hermitian inner products over the
    last `ndim` axes, so that the items of a batch converge independently: one that has reached the tolerance stays
    where it is while others go on.

    Args:
        matrix: M, (*batch, *image) -> (*batch, *image).
        b: (*batch, *image), real or complex.
        ndim: number of image axes.
        iterations: at most so many.
        tolerance: stop an item at ||b - M x|| <= tolerance ||b||.
        precondition: approximate inverse of M, Hermitian positive definite.
    """
    if b.is_complex():
        # As pairs of real numbers, whose products with the real step lengths are half the work.
        again = None if precondition is None else _on_pairs(precondition)
        result = conjugate_gradients(_on_pairs(matrix), _pairs(b), ndim + 1, iterations, tolerance, again)
        return CGResult(torch.view_as_complex(result.x), result.iterations, result.residual)
    x = torch.zeros_like(b)
    r = b
    squared = rr = dot(b, b, ndim)
    threshold = tolerance**2 * squared
    z = r if precondition is None else precondition(r)
    p = z
    rz = rr if precondition is None else dot(r, z, ndim)
    tiny = torch.finfo(rz.dtype).tiny
    done = 0
    # An item that has converged takes steps of zero while others go on.
    active = rr > threshold
    while done < iterations and bool(active.any()):
        Mp = matrix(p)
        done += 1
        alpha = _ratio(rz, dot(p, Mp, ndim), active)
        x.addcmul_(alpha, p)
        r = torch.addcmul(r, alpha, Mp, value=-1)
        rr = dot(r, r, ndim)
        z = r if precondition is None else precondition(r)
        rz_next = rr if precondition is None else dot(r, z, ndim)
        p = torch.addcmul(z, rz_next / rz.clamp(min=tiny), p)
        rz, active = rz_next, rr > threshold
    return CGResult(x, done, _ratio(rr, squared, squared > 0).sqrt().flatten(-ndim).squeeze(-1))


def gaussian_mean(
    covariance: Map, curvature: Map, pull: Tensor, ndim: int, iterations: int, tolerance: float = 1e-6
) -> CGResult:
    """Solve (C^-1 + H) x = p knowing C and H but not C^-1; Hermitian positive semi-definite both.

    Conjugate gradients preconditioned by C: directions C q keep C^-1 (C q) = q at hand. One application of each map an
    iteration; items of a batch converge independently, and one along which C is not positive stops where it is.

    Args:
        covariance: C, (*batch, *image) -> (*batch, *image).
        curvature: H, likewise.
        pull: p, (*batch, *image).
        ndim: number of image axes.
        iterations: at most so many.
        tolerance: stop an item at ||p - (C^-1 + H) x||_C <= tolerance ||p||_C.
    """
    x = torch.zeros_like(pull)
    r = pull
    z = covariance(r)
    q, p = r, z  # p = C q
    rz = first = dot(r, z, ndim).clamp(min=0)
    done = 0
    while done < iterations and bool((rz > tolerance**2 * first).any()):
        Mp = q + curvature(p)
        done += 1
        alpha = _ratio(rz, dot(p, Mp, ndim), rz > tolerance**2 * first)
        x.addcmul_(alpha, p)
        r = torch.addcmul(r, alpha, Mp, value=-1)
        z = covariance(r)
        rz_next = dot(r, z, ndim).clamp(min=0)
        beta = _ratio(rz_next, rz, alpha != 0)
        q, p = r + beta * q, z + beta * p
        rz = torch.where(alpha != 0, rz_next, torch.zeros_like(rz))
    return CGResult(x, done, _ratio(rz, first, first > 0).sqrt().flatten(-ndim).squeeze(-1))


def power_iteration(
    normal: Map,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    iterations: int = 30,
    tolerance: float = 1e-3,
) -> float:
    """Largest eigenvalue of a Hermitian positive semi-definite map, by power iteration from a fixed random start.

    Stops once the estimate changes by less than the relative tolerance. An estimate from below: leave a margin where
    an upper bound is needed.
    """
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(shape, generator=generator, dtype=dtype).to(device or "cpu")
    value = 0.0
    for _ in range(iterations):
        v = v / torch.linalg.vector_norm(v).clamp(min=torch.finfo(torch.float32).tiny)
        v = normal(v)
        previous, value = value, float(torch.linalg.vector_norm(v))
        if abs(value - previous) <= tolerance * value:
            break
    return value


def dot(a: Tensor, b: Tensor, ndim: int) -> Tensor:
    """Real part of <a, b> over the last `ndim` axes, kept as axes of length one."""
    if a.is_complex():
        # As pairs of real numbers: half the products, and sums over neighbours in memory.
        return dot(_pairs(a), _pairs(b), ndim + 1).squeeze(-1)
    return (a * b).sum(dim=tuple(range(-ndim, 0)), keepdim=True)


def _pairs(x: Tensor) -> Tensor:
    """(..., 2), real and imaginary parts."""
    return torch.view_as_real(x.resolve_conj())


def _on_pairs(function: Map) -> Map:
    """A map of complex images as one of their parts."""
    return lambda v: _pairs(function(torch.view_as_complex(v)))


def _ratio(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """a / b where asked and defined, else 0."""
    return torch.where(where & (b != 0), a / b, 0.0)
