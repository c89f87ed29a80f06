"""Strengths of regularisation in units of the noise, whatever scanner and units the data come in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoreinv.operators.likelihood import Gaussian
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.noise_level import k_space_noise

_MARGIN = 1.05  # of the norm of an operator, which is estimated from below


def default_likelihood(operator: LinearOperator, measurements: Tensor) -> Gaussian:
    """What is assumed of noise that nobody told: of k-space `k_space_noise`, else 0.01 rms(y)."""
    if measurements.is_complex():
        return Gaussian(max(k_space_noise(operator, measurements), 1e-12))
    return Gaussian(max(0.01 * float(measurements.square().mean().sqrt()), 1e-12))


def white_noise_response(operator: LinearOperator, device: torch.device) -> float:
    """sqrt(H) with H = E ||A n||^2 / voxels for white noise n of unit variance.

    One draw does, it averages over all voxels. For Cartesian MRI with normalised coil maps H is the share of k-space
    that was sampled.
    """
    n = torch.randn(operator.in_shape, generator=torch.Generator().manual_seed(0), dtype=operator.in_dtype)
    return float(torch.linalg.vector_norm(operator.forward(n.to(device)))) / math.sqrt(n.numel())


def typical_root(w: Tensor, expected: Tensor) -> float:
    """sqrt(w) averaged over data in proportion to their expectations."""
    through = expected.abs() + 1e-12
    return float((w.sqrt() * through).sum() / through.sum())


def largest_curvature(operator: LinearOperator, w: Tensor) -> float:
    """No less than the largest eigenvalue of A^H W A."""
    return float(w.max()) * (_MARGIN * operator.norm()) ** 2
