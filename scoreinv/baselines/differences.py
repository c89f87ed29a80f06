"""Forward differences of images along all axes, as total variation takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scoreinv.operators.linear import LinearOperator


def gradient(x: Tensor, scales: Sequence[float]) -> Tensor:
    """C grad x, (axes, *image); differences to the next voxel, 0 past the last."""
    out = x.new_zeros((x.ndim, *x.shape))
    for axis, scale in enumerate(scales):
        n = x.shape[axis] - 1
        part = out[axis].narrow(axis, 0, n)
        torch.sub(x.narrow(axis, 1, n), x.narrow(axis, 0, n), out=part).mul_(scale)
    return out


def transposed_gradient(q: Tensor, scales: Sequence[float]) -> Tensor:
    """grad^T C q of q (axes, *image), the exact transpose of `gradient`."""
    out = torch.zeros_like(q[0])
    for axis, scale in enumerate(scales):
        n = out.shape[axis] - 1
        flux = q[axis].narrow(axis, 0, n)
        out.narrow(axis, 1, n).add_(flux, alpha=scale)
        out.narrow(axis, 0, n).sub_(flux, alpha=scale)
    return out


def length(q: Tensor) -> Tensor:
    """Euclidean norm over the first axis; torch.linalg.vector_norm is twenty times slower there."""
    parts = torch.view_as_real(q).movedim(-1, 1).flatten(0, 1) if q.is_complex() else q
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total.addcmul_(part, part)
    return total.sqrt_()


def axis_scales(operator: LinearOperator) -> tuple[float, ...]:
    """C: what a difference along each axis of the operator's image is multiplied by; 1 for cubes."""
    if operator.volume is None:
        return (1.0,) * len(operator.in_shape)
    z, y, x = operator.volume.voxel_size
    unit = math.sqrt(z * math.sqrt(y * x))
    return (unit / z, unit / y, unit / x)
