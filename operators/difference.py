"""Finite differences along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scoreinv.operators.linear import LinearOperator


class FiniteDifference(LinearOperator):
    """(D x)_k = x_{k+1} - x_k along one axis; the last difference is left out.

    Args:
        shape: of the image.
        axis: along which to take differences.
        dtype: of the image.

    Raises:
        ValueError: if the axis does not exist or holds a single voxel.
    """

    def __init__(self, shape: Sequence[int], axis: int = 0, dtype: torch.dtype = torch.float32) -> None:
        if not -len(shape) <= axis < len(shape) or shape[axis] < 2:
            raise ValueError(f"FiniteDifference: axis {axis} of shape {tuple(shape)} must exist and be longer than 1")
        self.axis = axis % len(shape) - len(shape)
        out_shape = list(shape)
        out_shape[self.axis] -= 1
        super().__init__(shape, out_shape, dtype, dtype)

    def _apply(self, x: Tensor) -> Tensor:
        return x.diff(dim=self.axis)

    def _adjoint(self, y: Tensor) -> Tensor:
        length = y.shape[self.axis]
        x = y.new_zeros(*y.shape[: y.ndim + self.axis], length + 1, *y.shape[y.ndim + self.axis + 1 :])
        x.narrow(self.axis, 1, length).add_(y)
        x.narrow(self.axis, 0, length).sub_(y)
        return x
