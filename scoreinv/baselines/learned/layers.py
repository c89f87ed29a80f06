"""Convolutions in 1D, 2D and 3D: each with a bias, batch normalisation and a leaky ReLU."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def conv(ndim: int, channels: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, leaky ReLU; size kept at stride 1, no border at stride = kernel."""
    padding = kernel // 2 if stride == 1 else 0
    return nn.Sequential(_CONV[ndim](channels, out, kernel, stride, padding), _NORM[ndim](out), nn.LeakyReLU())


class Residual(nn.Module):
    """x -> lrelu(x + bn(conv(x)))."""

    def __init__(self, ndim: int, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_CONV[ndim](channels, channels, 3, padding=1), _NORM[ndim](channels))
        self.activation = nn.LeakyReLU()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.activation(x + self.branch(x))
        return answer


def residuals(ndim: int, channels: int, out: int, number: int) -> nn.Sequential:
    """`number` residual convolutions, after a plain one where the number of channels changes."""
    first = [] if channels == out else [conv(ndim, channels, out)]
    return nn.Sequential(*first, *(Residual(ndim, out) for _ in range(number)))


def widened(images: Tensor, multiple: int) -> Tensor:
    """(..., v, u), with zeros after the last row and column up to the next multiple of pixels."""
    rows, columns = images.shape[-2:]
    return functional.pad(images, (0, -columns % multiple, 0, -rows % multiple))
