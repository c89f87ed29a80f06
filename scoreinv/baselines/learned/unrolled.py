"""An unrolled network: a few iterations of a solver, between which a small network mends the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoreinv.baselines.learned.network import LearnedNetwork
from scoreinv.baselines.learned.unet import UNet
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import conjugate_gradients

_WEIGHT = 0.02  # of the image against the data, to begin with


class Unrolled(LearnedNetwork):
    """Alternates x = argmin ||A x - y||^2 / a^2 + lambda_k ||x - z||^2 and z = x + U-Net_k(x), from z = 0.

    The first is approached by a few conjugate gradients from z, the second sees slices (the last two axes), complex
    ones as two channels. Weights and lambda_k are learned, apart for every iteration. Any operator will do: it is
    measured by what it does to the back-projection b = A^H y, a = ||A b|| / ||b||, so that one network serves different
    numbers of views.

    Args:
        iterations: of both steps.
        gradients: conjugate gradients in each.
        width: channels of the U-Nets' finest level.
        levels: of resolution.
        complex: whether images are complex.
        scale: of an image that is 1 to the U-Nets; None takes the rms of the first x.

    Aggarwal, Mani and Jacob 2019, MoDL, IEEE TMI 38:394 (data step by conjugate gradients); Adler and Öktem 2018,
    Learned primal-dual reconstruction, IEEE TMI 37:1322 (weights of their own for every iteration).
    """

    kind = "unrolled"

    def __init__(
        self,
        iterations: int = 5,
        gradients: int = 5,
        width: int = 32,
        levels: int = 4,
        complex: bool = False,
        scale: float | None = None,
    ) -> None:
        super().__init__(
            iterations=iterations, gradients=gradients, width=width, levels=levels, complex=complex, scale=scale
        )
        self.gradients, self.complex, self.scale = gradients, complex, scale
        channels = 2 if complex else 1
        self.unets = nn.ModuleList(UNet(channels, channels, width, levels) for _ in range(iterations))
        self.log_weights = nn.Parameter(torch.full((iterations,), _WEIGHT).log())

    def check(self, operator: LinearOperator) -> None:
        if operator.in_dtype.is_complex != self.complex or len(operator.in_shape) < 2:
            wanted = "complex" if self.complex else "real"
            raise TypeError(f"unrolled: images of {operator} are {operator.in_dtype}, expected {wanted} ones of slices")

    def forward(self, operator: LinearOperator, measurements: Tensor) -> Tensor:
        """`operator.out_shape` -> `operator.in_shape`; differentiable."""
        target = operator.adjoint(measurements)
        square = _square(operator.forward(target)) / _square(target)
        target = target / square
        z, scale = torch.zeros_like(target), self.scale
        for unet, weight in zip(self.unets, self.log_weights.exp(), strict=True):
            x = self._data_step(operator, square, target, z, weight)
            if scale is None:
                scale = float(x.detach().abs().square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny))
            z = x + scale * _mended(unet, x / scale)
        return z

    def _data_step(self, operator: LinearOperator, square: Tensor, target: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        def matrix(x: Tensor) -> Tensor:
            return operator.normal(x) / square + weight * x

        # For the difference to z, which few iterations find better than the image itself.
        pull = target - operator.normal(z) / square
        return z + conjugate_gradients(matrix, pull, len(operator.in_shape), self.gradients).x

    def image(self, operator: LinearOperator, measurements: Tensor) -> Tensor:
        return torch.as_tensor(self(operator, measurements.to(self.device)))


def _square(x: Tensor) -> Tensor:
    """Squared norm, never 0."""
    return x.abs().square().sum().clamp(min=torch.finfo(torch.float32).tiny)


def _mended(unet: nn.Module, image: Tensor) -> Tensor:
    """What a U-Net answers to the slices of an image, real or complex."""
    slices = image.reshape(-1, *image.shape[-2:])
    if not image.is_complex():
        return torch.as_tensor(unet(slices[:, None])).reshape(image.shape)
    answer = unet(torch.view_as_real(slices).movedim(-1, 1)).movedim(1, -1)
    return torch.view_as_complex(answer.contiguous()).reshape(image.shape)
