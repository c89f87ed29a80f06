"""Resolution in image space: convolution with a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from numbers import Real

import torch
from torch import Tensor

from scoreinv.operators.geometry import Volume
from scoreinv.operators.linear import LinearOperator

_SIGMAS = 4.0


class GaussianBlur(LinearOperator):
    """A separable Gaussian, integrated over voxels and cut off at 4 sigma; beyond its border the image is zero.

    The kernel is symmetric and so is the operator: it is its own adjoint, border included. Kernels sum to 1, so that
    only what leaves the image is lost. Image (z, y, x) float32 to the same.

    Args:
        volume: the grid of the image.
        fwhm: full width at half maximum, mm; one number, or (z, y, x). 0 leaves an axis alone.

    Raises:
        ValueError: for a negative width, or not one or three of them.
    """

    def __init__(self, volume: Volume, fwhm: float | Sequence[float]) -> None:
        super().__init__(volume.shape, volume.shape)
        self.volume = volume
        widths = (float(fwhm),) * 3 if isinstance(fwhm, float | Real) else tuple(float(width) for width in fwhm)
        if len(widths) != 3 or not all(0 <= width < math.inf for width in widths):
            raise ValueError(f"GaussianBlur: fwhm is {fwhm}, expected one or three (z, y, x) widths >= 0 in mm")
        self.fwhm = widths
        self._kernels = [_kernel(width / size) for width, size in zip(widths, volume.voxel_size, strict=True)]

    def _apply(self, x: Tensor) -> Tensor:
        result = x.reshape(-1, 1, *self.in_shape)
        for axis, kernel in enumerate(self._kernels):
            if len(kernel) > 1:
                shape, padding = [1] * 5, [0] * 3
                shape[2 + axis], padding[axis] = len(kernel), len(kernel) // 2
                with _exact_products():
                    result = torch.nn.functional.conv3d(result, kernel.to(x.device).reshape(shape), padding=padding)
        return result.reshape(x.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._apply(y)


def _exact_products() -> AbstractContextManager[None]:
    """A GPU would else round to ten bits before it multiplies, and the adjoint identity would not hold."""
    now = torch.backends.cudnn
    return now.flags(now.enabled, now.benchmark, deterministic=now.deterministic, allow_tf32=False)


def _kernel(fwhm: float) -> Tensor:
    """Integrals over voxels of a Gaussian of this width in voxels, (2 reach + 1,) float32, summing to 1."""
    sigma = fwhm / math.sqrt(8 * math.log(2))
    reach = math.ceil(_SIGMAS * sigma)
    if reach == 0:
        return torch.ones(1)
    edges = torch.arange(-reach, reach + 2, dtype=torch.float64) - 0.5
    kernel = torch.erf(edges / (math.sqrt(2) * sigma)).diff()
    return (kernel / kernel.sum()).float()
