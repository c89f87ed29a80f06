"""Noise models: how likely measurements y are when `expected` = A x was to be seen.

Apart from the operator, because the same scanner gives line integrals, counts or weighted data. A data step asks a
likelihood for the gradient g of the negative log-likelihood in `expected` and for a weight w >= 0, and solves with
`g + w (new - expected)`; it never needs to know which model that was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor


class Likelihood(ABC):
    """A noise model whose data are independent given their expectation.

    Args:
        mask: 1 for good data, 0 for bad ones (metal, dead detectors), or weights between; of the data's shape or
            broadcast to it. A masked datum pulls at nothing.
    """

    def __init__(self, mask: Tensor | None = None) -> None:
        if mask is not None and bool((mask < 0).any()):
            raise ValueError(f"{type(self).__name__}: mask has negative entries; expected weights >= 0")
        self.mask = mask

    @abstractmethod
    def _negative_log(self, expected: Tensor, y: Tensor) -> Tensor:
        """-log p(y | expected) per datum, up to terms of y alone."""

    @abstractmethod
    def _quadratic(self, expected: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and weight per datum, before the mask."""

    @abstractmethod
    def simulate(self, expected: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Random measurements of the expectation's shape; the generator is on its device."""

    def negative_log(self, expected: Tensor, y: Tensor, ndim: int) -> Tensor:
        """-log p(y | expected), summed over the last `ndim` axes, up to terms of y alone; (*batch)."""
        return self._masked(self._negative_log(expected, y)).flatten(-ndim).sum(-1)

    def quadratic(self, expected: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(g, w): gradient of -log p in `expected` and a curvature w >= 0, each of the data's shape."""
        g, w = self._quadratic(expected, y)
        return self._masked(g), self._masked(w)

    def check(self, y: Tensor, shape: tuple[int, ...]) -> None:
        """Raise ValueError if y, or a tensor of this model, cannot be data of this shape."""
        for name, value in self._tensors().items():
            try:
                fits = torch.broadcast_shapes(value.shape, shape) == shape
            except RuntimeError:
                fits = False
            if not fits:
                raise ValueError(
                    f"{type(self).__name__}: {name} has shape {tuple(value.shape)}, expected a scalar or {shape}"
                )

    def subset(self, i: int, n: int, ndim: int = 3) -> Self:
        """This model for data `y[i::n]` (first axis), as `LinearOperator.subset` takes views.

        Args:
            i, n: every n-th view, from the i-th on.
            ndim: axes of the data. A tensor of fewer, or of length 1 along the first, is the same for all views.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        for name, value in self._tensors().items():
            if value.ndim == ndim and value.shape[0] > 1:
                setattr(other, name, value[i::n])
        return other

    def __repr__(self) -> str:
        given = {name: torch.as_tensor(value) for name, value in vars(self).items() if value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={_range(values)}' for name, values in given.items())})"

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def _masked(self, values: Tensor) -> Tensor:
        if self.mask is None:
            return values
        # Not a product alone: a bad datum may be NaN, and NaN * 0 is NaN.
        return torch.where(self.mask > 0, values * self.mask, torch.zeros_like(values))


class Gaussian(Likelihood):
    """y = expected + n with n ~ N(0, sigma^2); for complex data sigma is per real component.

    Args:
        sigma: standard deviation, unit of the data; scalar or broadcast to the data.
        mask: see `Likelihood`.

    Raises:
        ValueError: if sigma is not positive and finite.
    """

    def __init__(self, sigma: float | Tensor, mask: Tensor | None = None) -> None:
        super().__init__(mask)
        values = torch.as_tensor(sigma)
        if values.is_complex() or not bool((torch.isfinite(values) & (values > 0)).all()):
            raise ValueError(f"Gaussian: sigma must be positive and finite, got {_range(values)}")
        self.sigma = sigma

    def _negative_log(self, expected: Tensor, y: Tensor) -> Tensor:
        return 0.5 * ((expected - y).abs() / self.sigma) ** 2

    def _quadratic(self, expected: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        real = expected.real if expected.is_complex() else expected
        w = torch.ones_like(real) / self.sigma**2
        return w * (expected - y), w

    def simulate(self, expected: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(
            (*expected.shape, 2) if expected.is_complex() else expected.shape,
            generator=generator,
            device=expected.device,
        )
        return expected + self.sigma * (torch.view_as_complex(noise) if expected.is_complex() else noise)


class TransmissionPoisson(Likelihood):
    """Counts behind an absorber, y ~ Poisson(I exp(-l) + b), with l = A x the expected line integrals.

    Data are counts before any logarithm, so that zero counts keep their meaning (low dose, metal). The weight is the
    secant of the gradient from l to the likeliest line integral l* = log(I / (y - b)), the logarithmic mean of data and
    expectation where b = 0: the quadratic then points at l* from near and far, where a Newton step would overshoot
    exponentially. At l = l* it is the Fisher information (Erdogan and Fessler 1999, IEEE TMI 18:801, discuss the
    choices). Where y <= b there is no l*, and w is the Fisher information.

    Args:
        photons: I, unattenuated counts per datum; scalar or broadcast to the data.
        background: b, expected scatter and dark counts per datum.
        mask: see `Likelihood`.

    Raises:
        ValueError: if photons or background are negative or not finite.
    """

    def __init__(self, photons: float | Tensor, background: float | Tensor = 0.0, mask: Tensor | None = None) -> None:
        super().__init__(mask)
        for name, value in (("photons", photons), ("background", background)):
            values = torch.as_tensor(value)
            if not bool((torch.isfinite(values) & (values >= 0)).all()):
                raise ValueError(f"TransmissionPoisson: {name} must be finite counts >= 0, got {_range(values)}")
        self.photons, self.background = photons, background

    def check(self, y: Tensor, shape: tuple[int, ...]) -> None:
        super().check(y, shape)
        good = torch.ones_like(y, dtype=torch.bool) if self.mask is None else (self.mask > 0).expand_as(y)
        if bool((good & (y < 0)).any()):
            raise ValueError(
                "TransmissionPoisson: measurements have negative values; expected counts, not line integrals "
                "(use Gaussian for those)"
            )
        dark = (torch.as_tensor(self.photons) == 0) & (torch.as_tensor(self.background) == 0)
        if bool((good & dark & (y > 0)).any()):
            raise ValueError("TransmissionPoisson: counts where photons and background are both 0; mask these data")

    def _mean(self, expected: Tensor) -> tuple[Tensor, Tensor]:
        transmitted = self.photons * torch.exp(-expected)
        # No counts are expected nowhere at all: exp may underflow, its logarithm may not.
        return transmitted, (transmitted + self.background).clamp(min=torch.finfo(expected.dtype).tiny)

    def _negative_log(self, expected: Tensor, y: Tensor) -> Tensor:
        _, mean = self._mean(expected)
        return mean - torch.xlogy(y, mean)

    def _quadratic(self, expected: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        transmitted, mean = self._mean(expected)
        g = transmitted * (y / mean - 1)
        fisher = transmitted**2 / mean
        net = y - self.background
        seen = (net > 0) & (torch.as_tensor(self.photons) > 0)
        likeliest = torch.log(torch.where(seen, self.photons / torch.where(seen, net, 1.0), 1.0))
        distance = expected - likeliest
        far = seen & (distance.abs() > 1e-3)
        return g, torch.where(far, g / torch.where(far, distance, 1.0), fisher)

    def simulate(self, expected: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson(self.photons * torch.exp(-expected) + self.background, generator=generator)


def _range(values: Tensor) -> str:
    return f"{values.item():g}" if values.ndim == 0 else f"values from {values.min():g} to {values.max():g}"
