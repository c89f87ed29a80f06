"""Noise models: how likely measurements y are when `expected` = A x was to be seen.

Apart from the operator, because the same scanner gives line integrals, counts or weighted data. A data step asks a
likelihood for the gradient g of the negative log-likelihood in `expected` and for a weight w >= 0, and solves with
`g + w (new - expected)`; it never needs to know which model that was.
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor

_LEAST_MEAN = 1e-6  # counts; a logarithm of less is not taken

logger = logging.getLogger(__name__)


class Likelihood(ABC):
    """A noise model whose data are independent given their expectation.

    Parameters are numbers, or arrays of the data's shape or broadcast to it, on the data's device and in their
    precision; whole numbers and truth values will do for either. Arrays and lists become tensors here, once.

    Args:
        mask: 1 for good data, 0 for bad ones (metal, dead detectors), or weights between. A masked datum pulls at
            nothing.

    Raises:
        ValueError: if the mask is negative, NaN or Inf.
    """

    def __init__(self, mask: ArrayLike | Tensor | None = None) -> None:
        self.mask = None if mask is None else torch.as_tensor(mask)
        if self.mask is not None and not _within(self.mask, lambda values: values >= 0):
            raise ValueError(f"{type(self).__name__}: mask must be finite weights >= 0, got {_range(self.mask)}")

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

    def residual(self, expected: Tensor, y: Tensor) -> float:
        """How far the expectation is from the data, in units of their noise, relative to the data themselves.

        sqrt(sum |g|^2 / w) / sqrt(sum w |expected - g / w|^2) with (g, w) of `quadratic`: datum by datum, the way from
        the expectation to the likeliest one, over that likeliest one. For a Gaussian of one sigma this is
        ||expected - y|| / ||y||. Masked data count on neither side; NaN if nothing else was measured.

        Args:
            expected, y: of the data's shape.
        """
        g, w = self.quadratic(expected, y)
        seen = w > 0
        root, distance = w.sqrt(), torch.where(seen, g / torch.where(seen, w, 1.0), torch.zeros_like(g))
        size = torch.linalg.vector_norm(root * (expected - distance))
        return float(torch.linalg.vector_norm(root * distance) / size)

    def check(self, y: Tensor, shape: tuple[int, ...]) -> None:
        """Raise ValueError or TypeError if y, or a tensor of this model, cannot belong to data of this shape."""
        if self.mask is not None and not bool((self.mask > 0).any()):
            raise ValueError(f"{type(self).__name__}: mask is 0 everywhere, expected at least one good datum")
        precision = y.real.dtype if y.is_complex() else y.dtype
        for name, value in self._tensors().items():
            what = f"{type(self).__name__}: {name}"
            try:
                fits = torch.broadcast_shapes(value.shape, shape) == shape
            except RuntimeError:
                fits = False
            if not fits:
                raise ValueError(f"{what} has shape {tuple(value.shape)}, expected a scalar or {shape}")
            if value.ndim == 0:  # takes any dtype's and device's part, as a number does
                continue
            if value.is_complex() or (value.is_floating_point() and value.dtype != precision):
                raise TypeError(f"{what} is {value.dtype}, expected {precision} as the data; convert with .to")
            if value.device != y.device:
                raise ValueError(f"{what} is on {value.device}, expected {y.device} as the data; move it with .to")

    def subset(self, i: int, n: int, ndim: int = 3, axis: int = 0) -> Self:
        """This model for every n-th view of the data, from the i-th on, as `LinearOperator.subset` takes them.

        Args:
            i, n: which views.
            ndim: axes of the data. A tensor without their axis of views, or of length 1 along it, is the same for all.
            axis: that of the views, `LinearOperator.view_axis`.
        """

        def taken(value: Tensor) -> Tensor:
            own = axis - ndim + value.ndim  # tensors are broadcast from the right
            return value[(slice(None),) * own + (slice(i, None, n),)] if own >= 0 and value.shape[own] > 1 else value

        return self._with(taken)

    def to(self, device: torch.device | str) -> Self:
        """This model for data on another device."""
        return self._with(lambda value: value.to(device))

    def _with(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy of which every tensor is changed."""
        other = copy.copy(self)
        for name, value in self._tensors().items():
            setattr(other, name, change(value))
        return other

    def __repr__(self) -> str:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={_range(value)}' for name, value in given.items())})"

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

    def __init__(self, sigma: float | ArrayLike | Tensor, mask: ArrayLike | Tensor | None = None) -> None:
        super().__init__(mask)
        self.sigma = _parameter(sigma)
        if not _within(self.sigma, lambda values: values > 0):
            raise ValueError(f"Gaussian: sigma must be positive and finite, got {_range(self.sigma)}")

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


class Poisson(Likelihood):
    """Counts of an emitter, y ~ Poisson(A x + b), with b the expected randoms and scatter of each datum.

    The weight is 1 / (A x + b), the Fisher information, and at once the secant of the gradient: the quadratic points at
    the likeliest expectation y - b from near and far. Below 1e-6 expected counts the logarithm goes on along its
    tangent, so that value, gradient and weight stay finite at zero counts, at zero background and for images that
    swing below zero.

    Args:
        background: b, expected counts that do not come from the image; scalar or broadcast to the data.
        mask: see `Likelihood`.

    Raises:
        ValueError: if the background is negative or not finite.
    """

    def __init__(self, background: float | ArrayLike | Tensor = 0.0, mask: ArrayLike | Tensor | None = None) -> None:
        super().__init__(mask)
        self.background = _parameter(background)
        if not _within(self.background, lambda values: values >= 0):
            raise ValueError(f"Poisson: background must be finite counts >= 0, got {_range(self.background)}")

    def check(self, y: Tensor, shape: tuple[int, ...]) -> None:
        _check_real(self, y)
        super().check(y, shape)
        good = torch.ones_like(y, dtype=torch.bool) if self.mask is None else (self.mask > 0).expand_as(y)
        counts, background = y[good], torch.as_tensor(self.background, device=y.device).expand_as(y)[good]
        if bool((counts < 0).any()):
            raise ValueError(
                "Poisson: measurements have negative values; expected prompts as counted, with randoms and scatter in "
                "background rather than subtracted"
            )
        if bool((counts != counts.round()).any()):
            logger.warning("Poisson: measurements are not whole numbers; expected prompts as counted, not corrected")
        if bool((background > 0).any()) and not bool((counts > 0).any()):
            raise ValueError(
                f"Poisson: measurements hold no counts, on a background of {_range(self.background)}; expected prompts "
                "as counted: is the scan empty?"
            )
        # Not of events, which are counted one by one: more may be expected in the bin of each.
        if bool((background > 0).any()) and bool((background >= counts).all()) and not bool((counts == 1).all()):
            raise ValueError(
                f"Poisson: background, {_range(self.background)}, is at least the measurements everywhere; expected "
                "mean counts of each datum, in the same unit"
            )
        measured, expected = float(counts.double().sum()), float(background.double().sum())
        if expected > measured + 5 * measured**0.5:
            logger.warning(
                "Poisson: the background sums to %.6g, more than the %.6g counts; expected it in counts of each datum",
                expected,
                measured,
            )

    def check_seen(self, expected: Tensor, y: Tensor) -> None:
        """Raise ValueError if there are counts where none can be expected, which have likelihood zero.

        Args:
            expected: A x of an image positive everywhere, so that only lines that miss the image have 0.
            y: counts, of the same shape.
        """
        blind = (expected + self.background <= 0) & (y > 0)
        if self.mask is not None:
            blind &= self.mask > 0
        if bool(blind.any()):
            raise ValueError(
                f"Poisson: {int(blind.sum())} measurements have counts where neither image nor background can give "
                "any; pass a background, or a mask that is 0 there"
            )

    def _mean(self, expected: Tensor) -> tuple[Tensor, Tensor]:
        mean = expected + self.background
        return mean, mean.clamp(min=_LEAST_MEAN)

    def _negative_log(self, expected: Tensor, y: Tensor) -> Tensor:
        mean, safe = self._mean(expected)
        return mean - torch.xlogy(y, safe) - y * (mean - safe) / safe

    def _quadratic(self, expected: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        _, safe = self._mean(expected)
        return 1 - y / safe, 1 / safe

    def simulate(self, expected: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson((expected + self.background).clamp(min=0), generator=generator)


def _check_real(likelihood: Likelihood, y: Tensor) -> None:
    if y.is_complex():
        raise TypeError(
            f"{type(likelihood).__name__}: measurements are {y.dtype}, expected counts; take Gaussian(sigma)"
        )


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

    def __init__(
        self,
        photons: float | ArrayLike | Tensor,
        background: float | ArrayLike | Tensor = 0.0,
        mask: ArrayLike | Tensor | None = None,
    ) -> None:
        super().__init__(mask)
        self.photons, self.background = _parameter(photons), _parameter(background)
        for name, value in (("photons", self.photons), ("background", self.background)):
            if not _within(value, lambda values: values >= 0):
                raise ValueError(f"TransmissionPoisson: {name} must be finite counts >= 0, got {_range(value)}")

    def check(self, y: Tensor, shape: tuple[int, ...]) -> None:
        _check_real(self, y)
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


def _parameter(value: float | ArrayLike | Tensor) -> float | Tensor:
    """Numbers as they are, everything else as a tensor."""
    return value if isinstance(value, int | float) else torch.as_tensor(value)


def _within(value: float | Tensor, condition: Callable[[Tensor], Tensor]) -> bool:
    """Whether all entries are real, finite and meet the condition."""
    values = torch.as_tensor(value)
    return not values.is_complex() and bool((torch.isfinite(values) & condition(values)).all())


def _range(value: float | Tensor) -> str:
    values = torch.as_tensor(value)
    if values.ndim == 0:
        return f"{values.item():g}"
    if values.is_complex() or values.numel() == 0:
        return f"{tuple(values.shape)} {values.dtype}"
    return f"values from {values.min():g} to {values.max():g}"
