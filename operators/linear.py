"""The contract of every scanner model: a linear map with its exact adjoint.

An operator declares the shape and dtype of one image and of its measurements; a subclass writes `_apply` and
`_adjoint`; everything else (checks, batches, algebra, automatic differentiation, norm) is given here once. Any axes in
front of `in_shape` or `out_shape` are batch axes: `_apply` receives `(*batch, *in_shape)`.

The adjoint is the transpose of the implementation, not a discretisation of the adjoint integral. Conjugate gradients,
posterior guidance and back-propagation rest on `<A x, y> = <x, A^H y>` holding to rounding.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators.geometry import Volume
from scoreinv.operators.solvers import Map, power_iteration

T = TypeVar("T")


class LinearOperator(ABC):
    """A linear map from images of `in_shape` to measurements of `out_shape`.

    Args:
        in_shape: shape of one image, without batch axes.
        out_shape: shape of its measurements, without batch axes.
        in_dtype: dtype of images; others are refused, never converted.
        out_dtype: dtype of measurements.
        device: the only device this operator works on; None means that of its argument.

    Attributes:
        unit: physical unit of the image ("1/mm"), compared with the prior's; None fits any.
        volume: grid of the image; None where its place and voxel size are unknown.
        counts: whether measurements are counts of an emitter, in proportion to the image.
        partial: whether there were other measurements, all of them 0: lines without events in list mode.
        view_axis: axis of the measurements along which `subset` takes every n-th.
    """

    unit: str | None = None
    volume: Volume | None = None
    counts: bool = False
    partial: bool = False
    view_axis: int = 0

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        in_dtype: torch.dtype = torch.float32,
        out_dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        self.in_shape = tuple(int(n) for n in in_shape)
        self.out_shape = tuple(int(n) for n in out_shape)
        self.in_dtype = in_dtype
        self.out_dtype = out_dtype
        self.device = None if device is None else torch.device(device)
        self._norm: float | None = None

    @abstractmethod
    def _apply(self, x: Tensor) -> Tensor:
        """A x for x of shape (*batch, *in_shape)."""

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor:
        """A^H y for y of shape (*batch, *out_shape)."""

    def _normal(self, x: Tensor) -> Tensor:
        """A^H A x; override where something faster than both in turn exists."""
        return self._adjoint(self._apply(x))

    def inverse_near(self, strength: Tensor, damping: Tensor) -> Map | None:
        """Approximate inverse of damping + strength A^H A, Hermitian positive definite, where one is known.

        Args:
            strength, damping: > 0, numbers or (*batch, 1, ...) with an axis of length one for every image axis.
        """
        return None

    def to(self, device: torch.device | str) -> LinearOperator:
        """This operator for data on another device: itself, if it works there already.

        Raises:
            ValueError: if it works on one device alone.
        """
        device = torch.device(device)
        return self if self._works_on(device) else self._moved(device)

    def _works_on(self, device: torch.device) -> bool:
        """Whether data there are for it; "cuda" without a number is any GPU, as that of an operator and as a wish."""
        own = self.device
        return own is None or (own.type == device.type and (None in (own.index, device.index) or own == device))

    def _place(self, device: torch.device | str | None) -> torch.device:
        """Where to make data for it: on `device` if it works there, else where it does."""
        wished = self.device or torch.device("cpu") if device is None else torch.device(device)
        return wished if self._works_on(wished) else self.device or wished

    def _moved(self, device: torch.device) -> LinearOperator:
        raise ValueError(f"{self} works on {self.device} alone, got {device}; make it with backend='auto'")

    def _inspect(self, x: Tensor) -> None:
        """Warn if a checked image looks implausible, such as CT numbers where 1/mm is expected."""

    def __call__(self, x: Tensor) -> Tensor:
        """`forward`, after a look at the plausibility of the image: the way in for users, not for solvers."""
        self.check_image(x)
        self._inspect(x)
        return self.forward(x)

    def forward(self, x: Tensor) -> Tensor:
        """A x, (*batch, *in_shape) -> (*batch, *out_shape). Differentiable: the backward pass is the adjoint.

        Raises:
            ValueError: if the trailing axes are not `in_shape`, or the device is not the operator's.
            TypeError: if the dtype is not `in_dtype`.
        """
        self.check_image(x)
        y: Tensor = _Differentiable.apply(x, self._apply, self._adjoint)
        self._check_answer("_apply", y, (*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape), self.out_dtype)
        return y

    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y, (*batch, *out_shape) -> (*batch, *in_shape). Differentiable. Raises like `forward`."""
        self.check_measurements(y)
        x: Tensor = _Differentiable.apply(y, self._adjoint, self._apply)
        self._check_answer("_adjoint", x, (*y.shape[: y.ndim - len(self.out_shape)], *self.in_shape), self.in_dtype)
        return x

    def normal(self, x: Tensor) -> Tensor:
        """A^H A x, (*batch, *in_shape) -> (*batch, *in_shape). Differentiable. Raises like `forward`."""
        self.check_image(x)
        result: Tensor = _Differentiable.apply(x, self._normal, self._normal)
        self._check_answer("_normal", result, tuple(x.shape), self.in_dtype)
        return result

    def sensitivity(self, device: torch.device | str | None = None) -> Tensor:
        """A^H 1, (*in_shape): what every voxel gives to all measurements, on `device` if the operator works there."""
        return self.adjoint(torch.ones(self.out_shape, dtype=self.out_dtype, device=self._place(device)))

    def subset(self, i: int, n: int) -> LinearOperator:
        """The operator of views i, i + n, i + 2n, ... along `view_axis`; only where measurements are made of views."""
        raise NotImplementedError(f"{self}: has no views to take subset {i} of {n} from; use the whole operator")

    def measured_by(self, i: int, n: int, y: Tensor) -> Tensor:
        """Those of the measurements y, (*batch, *out_shape), that `subset(i, n)` makes."""
        axis = y.ndim - len(self.out_shape) + self.view_axis
        return y[(slice(None),) * axis + (slice(i, None, n),)]

    def norm(self) -> float:
        """Spectral norm ||A||, by power iteration from a fixed start; computed once."""
        if self._norm is None:
            self._norm = math.sqrt(power_iteration(self.normal, self.in_shape, self.in_dtype, self.device))
        return self._norm

    @property
    def H(self) -> LinearOperator:
        """The adjoint as an operator."""
        return _Adjoint(self)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        return _Composition(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return _Sum(self, other)

    def __rmul__(self, factor: complex | Tensor) -> LinearOperator:
        return _Scaled(self, factor)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_text(self.in_shape)} -> {_text(self.out_shape)})"

    def check_image(self, x: Tensor) -> None:
        """Raise ValueError or TypeError unless x is an image, or a batch of them."""
        self._check(x, self.in_shape, self.in_dtype, "image")

    def check_measurements(self, y: Tensor) -> None:
        """Raise ValueError or TypeError unless y are measurements, or a batch of them."""
        self._check(y, self.out_shape, self.out_dtype, "measurements")

    def _check(self, x: Tensor, shape: tuple[int, ...], dtype: torch.dtype, what: str) -> None:
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: {what} must be a torch.Tensor, got {type(x).__name__}; use torch.as_tensor")
        if x.ndim < len(shape) or tuple(x.shape[x.ndim - len(shape) :]) != shape:
            verb = "has" if what == "image" else "have"
            raise ValueError(
                f"{name}: {what} {verb} shape {_text(x.shape)}, expected (*batch, {', '.join(map(str, shape))})"
                f"{self._hint(what, tuple(x.shape))}"
            )
        if x.dtype != dtype:
            raise TypeError(
                f"{name}: {what} is {dtype_name(x.dtype)}, expected {dtype_name(dtype)}; convert with .to({dtype})"
            )
        if not self._works_on(x.device):
            raise ValueError(
                f"{name}: {what} is on {x.device}, expected {self.device}; move it with .to('{self.device}')"
            )

    def _check_answer(self, method: str, answer: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """What a subclass computes is looked at too: users write their own."""
        if tuple(answer.shape) != shape or answer.dtype != dtype:
            raise ValueError(
                f"{type(self).__name__}: {method} gives {_text(answer.shape)} {dtype_name(answer.dtype)}, expected "
                f"{_text(shape)} {dtype_name(dtype)}; correct it, or the shapes and dtypes told to super().__init__"
            )

    def _hint(self, what: str, shape: tuple[int, ...]) -> str:
        """What to try when the "image" or the "measurements" have this wrong shape, starting with a semicolon."""
        return ""


class _Adjoint(LinearOperator):
    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.out_shape, operator.in_shape, operator.out_dtype, operator.in_dtype, operator.device)
        self.operator = operator

    def _moved(self, device: torch.device) -> LinearOperator:
        return self.operator.to(device).H

    def _apply(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator.forward(y)

    @property
    def H(self) -> LinearOperator:
        return self.operator


class _Composition(LinearOperator):
    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if (outer.in_shape, outer.in_dtype) != (inner.out_shape, inner.out_dtype):
            raise ValueError(
                f"{outer} @ {inner}: the left takes {_text(outer.in_shape)} {dtype_name(outer.in_dtype)}, "
                f"the right gives {_text(inner.out_shape)} {dtype_name(inner.out_dtype)}"
            )
        super().__init__(inner.in_shape, outer.out_shape, inner.in_dtype, outer.out_dtype, outer.device or inner.device)
        self.outer, self.inner = outer, inner
        self.view_axis, self.counts, self.partial = outer.view_axis, outer.counts, outer.partial
        self.unit, self.volume = inner.unit, inner.volume

    def _moved(self, device: torch.device) -> LinearOperator:
        return self.outer.to(device) @ self.inner.to(device)

    def _inspect(self, x: Tensor) -> None:
        self.inner._inspect(x)

    def _apply(self, x: Tensor) -> Tensor:
        return self.outer.forward(self.inner.forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))

    def _normal(self, x: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.normal(self.inner.forward(x)))

    def sensitivity(self, device: torch.device | str | None = None) -> Tensor:
        return self.inner.adjoint(self.outer.sensitivity(device))

    def subset(self, i: int, n: int) -> LinearOperator:
        return self.outer.subset(i, n) @ self.inner


class _Sum(LinearOperator):
    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if (left.in_shape, left.out_shape, left.in_dtype, left.out_dtype) != (
            right.in_shape,
            right.out_shape,
            right.in_dtype,
            right.out_dtype,
        ):
            raise ValueError(f"{left} + {right}: shapes and dtypes must agree")
        super().__init__(left.in_shape, left.out_shape, left.in_dtype, left.out_dtype, left.device or right.device)
        self.left, self.right = left, right
        self.view_axis, self.counts = left.view_axis, left.counts and right.counts
        self.partial = left.partial or right.partial
        self.unit = _shared(left.unit, right.unit, f"{left} + {right}: units of the image")
        self.volume = _shared(left.volume, right.volume, f"{left} + {right}: volumes")

    def _moved(self, device: torch.device) -> LinearOperator:
        return self.left.to(device) + self.right.to(device)

    def _inspect(self, x: Tensor) -> None:
        self.left._inspect(x)

    def _apply(self, x: Tensor) -> Tensor:
        return self.left.forward(x) + self.right.forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.left.adjoint(y) + self.right.adjoint(y)

    def sensitivity(self, device: torch.device | str | None = None) -> Tensor:
        return self.left.sensitivity(device) + self.right.sensitivity(device)

    def subset(self, i: int, n: int) -> LinearOperator:
        return self.left.subset(i, n) + self.right.subset(i, n)


class _Scaled(LinearOperator):
    def __init__(self, operator: LinearOperator, factor: complex | Tensor) -> None:
        # A tensor, or a number of NumPy's, would bring its own dtype along.
        if isinstance(factor, np.generic) or (isinstance(factor, Tensor) and factor.numel() == 1):
            factor = factor.item()
        if not isinstance(factor, int | float | complex):
            raise TypeError(f"factor * {operator}: the factor is {type(factor).__name__}, expected one number")
        if isinstance(factor, complex) and not operator.out_dtype.is_complex:
            raise TypeError(f"{factor} * {operator}: a complex factor needs complex measurements; use a real one")
        super().__init__(operator.in_shape, operator.out_shape, operator.in_dtype, operator.out_dtype, operator.device)
        self.operator, self.factor = operator, factor
        self.view_axis, self.counts, self.partial = operator.view_axis, operator.counts, operator.partial
        self.unit, self.volume = operator.unit, operator.volume

    def _moved(self, device: torch.device) -> LinearOperator:
        return self.factor * self.operator.to(device)

    def _inspect(self, x: Tensor) -> None:
        self.operator._inspect(x)

    def _apply(self, x: Tensor) -> Tensor:
        return self.factor * self.operator.forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator.adjoint(self.factor.conjugate() * y)

    def _normal(self, x: Tensor) -> Tensor:
        return abs(self.factor) ** 2 * self.operator.normal(x)

    def sensitivity(self, device: torch.device | str | None = None) -> Tensor:
        return self.factor.conjugate() * self.operator.sensitivity(device)

    def subset(self, i: int, n: int) -> LinearOperator:
        return self.factor * self.operator.subset(i, n)


class _Differentiable(torch.autograd.Function):
    """y = A x whose backward pass is A^H, itself differentiable."""

    @staticmethod
    def forward(ctx, x, apply, adjoint):  # type: ignore[no-untyped-def]
        ctx.maps = (apply, adjoint)
        return apply(x)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        apply, adjoint = ctx.maps
        return _Differentiable.apply(gradient, adjoint, apply), None, None


def _shared(a: T | None, b: T | None, what: str) -> T | None:
    """What both know of the image, or one of them."""
    if a is not None and b is not None and a != b:
        raise ValueError(f"{what} must agree, got {a} and {b}")
    return b if a is None else a


def _text(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
