"""Several scanners at once, each with an image of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scoreinv.operators.linear import LinearOperator, dtype_name


class Stack(LinearOperator):
    """Block-diagonal operator: frame t of the image is seen by operator t alone.

    For time frames with their own angles or trajectories, energy bins, or modalities. Image (T, *in_shape);
    measurements (T, *out_shape) if all frames are measured alike, otherwise one vector, frame after frame, which
    `split` takes apart.

    Raises:
        ValueError: without operators, or if their images or dtypes differ.
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        if not operators:
            raise ValueError("Stack: got no operators; expected at least one")
        first = operators[0]
        for t, operator in enumerate(operators):
            if (operator.in_shape, operator.in_dtype, operator.out_dtype) != (
                first.in_shape,
                first.in_dtype,
                first.out_dtype,
            ):
                raise ValueError(
                    f"Stack: operator {t} is {operator} with dtypes {dtype_name(operator.in_dtype)} -> "
                    f"{dtype_name(operator.out_dtype)}, expected images and dtypes as in operator 0, {first}"
                )
        self.operators = tuple(operators)
        self._alike = all(operator.out_shape == first.out_shape for operator in operators)
        self._sizes = [math.prod(operator.out_shape) for operator in operators]
        super().__init__(
            in_shape=(len(operators), *first.in_shape),
            out_shape=(len(operators), *first.out_shape) if self._alike else (sum(self._sizes),),
            in_dtype=first.in_dtype,
            out_dtype=first.out_dtype,
            device=first.device,
        )

    def _moved(self, device: torch.device) -> Stack:
        return Stack([operator.to(device) for operator in self.operators])

    def split(self, y: Tensor) -> list[Tensor]:
        """The measurements of every frame, each (*batch, *out_shape of that frame)."""
        axis = -len(self.out_shape)
        if self._alike:
            return list(y.unbind(axis))
        parts = y.split(self._sizes, axis)
        return [part.unflatten(axis, operator.out_shape) for part, operator in zip(parts, self.operators, strict=True)]

    def _apply(self, x: Tensor) -> Tensor:
        frames = x.unbind(-len(self.in_shape))
        parts = [operator.forward(frame) for operator, frame in zip(self.operators, frames, strict=True)]
        if self._alike:
            return torch.stack(parts, -len(self.out_shape))
        return torch.cat([part.flatten(-len(op.out_shape)) for part, op in zip(parts, self.operators, strict=True)], -1)

    def _adjoint(self, y: Tensor) -> Tensor:
        frames = [op.adjoint(part) for op, part in zip(self.operators, self.split(y), strict=True)]
        return torch.stack(frames, -len(self.in_shape))

    def _normal(self, x: Tensor) -> Tensor:
        frames = x.unbind(-len(self.in_shape))
        return torch.stack(
            [op.normal(frame) for op, frame in zip(self.operators, frames, strict=True)], -len(self.in_shape)
        )
