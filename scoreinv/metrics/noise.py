"""How the variance of noise spreads over spatial frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class NoisePower:
    """A noise power spectrum.

    Attributes:
        power: of the shape of a region, 0 frequency first (`numpy.fft.fftfreq`), unit of the image squared times mm to
            the number of axes.
        pixel_size: along each axis, mm.
    """

    power: Tensor
    pixel_size: tuple[float, ...]

    @property
    def frequencies(self) -> list[Tensor]:
        """Along each axis, 1/mm."""
        return [torch.from_numpy(np.fft.fftfreq(n, d)) for n, d in zip(self.power.shape, self.pixel_size, strict=True)]

    @property
    def variance(self) -> float:
        """Integral of the power over frequencies: the variance of the noise, unit of the image squared."""
        cell = math.prod(n * size for n, size in zip(self.power.shape, self.pixel_size, strict=True))
        return float(self.power.sum()) / cell

    def radial(self) -> tuple[Tensor, Tensor]:
        """Frequency (1/mm) and mean power over shells as wide as the coarsest frequency step, up to Nyquist's."""
        length = torch.stack(torch.meshgrid(*self.frequencies, indexing="ij")).norm(dim=0)
        step = max(1 / (n * size) for n, size in zip(self.power.shape, self.pixel_size, strict=True))
        count = int(0.5 / max(self.pixel_size) / step) + 1
        shell = (length / step).round().long()
        inside = shell < count
        number = torch.bincount(shell[inside], minlength=count)
        total = torch.bincount(shell[inside], self.power[inside], minlength=count)
        middle = torch.bincount(shell[inside], length[inside], minlength=count)
        return middle / number, total / number


def noise_power(regions: Tensor, pixel_size: Sequence[float]) -> NoisePower:
    """Noise power spectrum of regions that should be flat (Siewerdsen, Cunningham and Jaffray 2002, equation 28; ICRU
    report 87).

        NPS(f) = (product of pixel sizes / number of pixels) < |DFT(region - its mean)|^2 >

    Each region's own mean is taken off, and with it the power at frequency 0; for a background that is not flat pass
    differences of two realisations and halve the power.

    Args:
        regions: (regions, y, x) or (regions, z, y, x), real: the same place in many realisations, or many places.
        pixel_size: along each spatial axis, mm.

    Raises:
        TypeError: for complex regions.
        ValueError: for another rank, or sizes that are not positive or not one an axis.
    """
    if regions.is_complex():
        raise TypeError("noise_power: regions are complex, expected real; pass real and imaginary parts as regions")
    if regions.ndim not in (3, 4) or regions.numel() == 0:
        raise ValueError(f"noise_power: regions have shape {tuple(regions.shape)}, expected (regions, [z,] y, x)")
    sizes = tuple(float(size) for size in pixel_size)
    if len(sizes) != regions.ndim - 1 or min(sizes) <= 0:
        raise ValueError(f"noise_power: pixel_size is {sizes}, expected {regions.ndim - 1} positive lengths in mm")
    axes = tuple(range(1, regions.ndim))
    values = regions.double()
    spectrum = torch.fft.fftn(values - values.mean(axes, keepdim=True), dim=axes)
    power = spectrum.abs().square().mean(0) * (math.prod(sizes) / math.prod(regions.shape[1:]))
    return NoisePower(power, sizes)
