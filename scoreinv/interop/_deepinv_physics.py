"""A physics of deepinv as an operator."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scoreinv.interop._deepinv_layout import Layout
from scoreinv.operators import LinearOperator

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

ADJOINT_TOLERANCE = 1e-4


class DeepinvOperator(LinearOperator):
    """A linear physics of deepinv; made by `from_deepinv`, which says what is what.

    Attributes:
        physics: whose A and A_adjoint are applied.
        mismatch: ||A - B^H|| / ||A|| for the adjoint B, in the Frobenius norm, as three random pairs of vectors
            estimate it: right to a factor of two or so.
    """

    def __init__(
        self, physics: LinearPhysics, image_shape: Sequence[int], complex_channels: bool, dtype: torch.dtype
    ) -> None:
        self.physics = physics
        self._name = type(physics).__name__
        device = next((buffer.device for buffer in physics.buffers()), torch.device("cpu"))
        given = torch.zeros(1, *image_shape, dtype=dtype, device=device)
        self._image = Layout.theirs(given, complex_channels, f"from_deepinv: images of {self._name}")
        self._data = Layout.theirs(self._first(given), complex_channels, f"from_deepinv: measurements of {self._name}")
        super().__init__(self._image.shape, self._data.shape, self._image.dtype, self._data.dtype, device)
        self.mismatch = self._put_to_the_test()
        if self.mismatch > ADJOINT_TOLERANCE:
            warnings.warn(
                f"from_deepinv: A_adjoint of {self._name} differs from the transpose of A by about {self.mismatch:.1g} "
                f"(relative; expected below {ADJOINT_TOLERANCE:g}); data steps then solve another problem than the one "
                "posed and may stall or diverge; for an exact adjoint give Tomography adjoint_via_backprop=True, other "
                "physics LinearPhysics(A=physics.A, img_size=image_shape), unless A has a backward pass of its own",
                UserWarning,
                stacklevel=3,
            )

    def _apply(self, x: Tensor) -> Tensor:
        batch = x.shape[: x.ndim - len(self.in_shape)]
        y = self.physics.A(self._image.pack(x.reshape(-1, *self.in_shape)))
        return self._data.unpack(y, f"{self}: measurements").reshape(*batch, *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        batch = y.shape[: y.ndim - len(self.out_shape)]
        x = self.physics.A_adjoint(self._data.pack(y.reshape(-1, *self.out_shape)))
        return self._image.unpack(x, f"{self}: image").reshape(*batch, *self.in_shape)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {self._name})"

    def _first(self, image: Tensor) -> Tensor:
        """The measurements of one image in deepinv's form."""
        try:
            with torch.no_grad():
                y: Any = self.physics.A(image)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"from_deepinv: {self._name} does not take images of shape {tuple(image.shape)} ({error}); expected "
                "image_shape = (channels, *image), as deepinv's img_size"
            ) from error
        if not isinstance(y, Tensor):
            raise ValueError(
                f"from_deepinv: {self._name} gives a {type(y).__name__} of measurements, expected one tensor; convert "
                "its parts one by one"
            )
        if y.shape[0] != 1:
            raise ValueError(
                f"from_deepinv: {self._name} gives {y.shape[0]} measurements of one image, so its parameters are those "
                "of a batch; make a physics for each of its items"
            )
        return y

    def _put_to_the_test(self) -> float:
        """The adjoint's mismatch; raises ValueError if there is no adjoint or A is not linear."""
        # For unit normal x and y, E |<y, Ax> - <By, x>|^2 = ||A - B^H||^2 and E |Ax|^2 = ||A||^2, whatever the size.
        differences, sizes = 0.0, 0.0
        for k in range(3):
            generator = torch.Generator().manual_seed(k)
            x = torch.randn(self.in_shape, dtype=self.in_dtype, generator=generator).to(self.device or "cpu")
            y = torch.randn(self.out_shape, dtype=self.out_dtype, generator=generator).to(self.device or "cpu")
            with torch.no_grad():
                Ax = self._apply(x)
                if k == 0:
                    self._check_linear(x, Ax)
                AHy = self._transposed(y)
            left, right = _inner(y, Ax), _inner(AHy, x)
            if self.in_dtype.is_complex != self.out_dtype.is_complex:
                # Between a real and a complex space only the real part of the products agrees.
                left, right = complex(left.real), complex(right.real)
            differences += abs(left - right) ** 2
            sizes += _inner(Ax, Ax).real
        return math.sqrt(differences / sizes) if sizes else math.sqrt(differences)

    def _check_linear(self, x: Tensor, Ax: Tensor) -> None:
        # A turn by -i tells a complex-linear map from one that is linear in both channels only.
        factor = -2j if self.in_dtype.is_complex and self.out_dtype.is_complex else -2
        error = float(torch.linalg.vector_norm(self._apply(factor * x) - factor * Ax))
        size = float(torch.linalg.vector_norm(factor * Ax))
        if error > 1e-3 * size:
            raise ValueError(
                f"from_deepinv: {self._name} is not linear, A({factor} x) differs from {factor} A(x) by "
                f"{error / max(size, 1e-30):.2g} (relative); take constant terms out of A and off the measurements"
            )

    def _transposed(self, y: Tensor) -> Tensor:
        try:
            return self._adjoint(y)
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"from_deepinv: {self._name} has no adjoint that works ({error}); give LinearPhysics an A_adjoint, or "
                "img_size for the one by automatic differentiation"
            ) from error


def _inner(a: Tensor, b: Tensor) -> complex:
    """<a, b>, summed in double precision."""
    wide = torch.complex128
    return complex(torch.vdot(a.to(wide).flatten(), b.to(wide).flatten()))
