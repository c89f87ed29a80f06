"""Time of flight: along a line, where between its two crystals the photons came from.

The convention is that of parallelproj 2, so that numbers can be compared. Bin t of T is centred at
(t - (T - 1) / 2) bin_width from the middle of the line, positive towards its second crystal. A point of the image
falls into the bins with the integrals over them of a Gaussian about it. Only bins within 3 sigma are taken, from
floor(position - 3 sigma) to ceil(position + 3 sigma) in bins, and their weights divided by their sum before those
outside [0, T) are dropped. So bins that cover the image by 3 sigma add up to the projection without time of flight,
and no counts are lost to the tails (up to 0.3 % of them, if the Gaussian were cut off only).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

_LEAST_PS = 10.0  # of a resolution
_MM_PER_PS = 0.299792458 / 2  # both photons travel, so a delay shifts the origin by half of its path
_COARSEST = 300.0  # mm, 2 ns: no scanner with time of flight is so coarse
_MOST, _LEAST = 3.0, 0.1  # of a scanner's diameter, that bins can be meant to cover
SIGMAS = 3.0
_STEPS = 512  # of a bin's width in the table; linear between, to some 1e-7


@dataclass(frozen=True)
class TOF:
    """Time-of-flight bins and resolution, as lengths along the line.

    Args:
        bins: number of bins, centred on the middle of the line.
        bin_width: mm.
        fwhm: full width at half maximum of the resolution, mm.

    Raises:
        ValueError: for a number or lengths that are not positive, or a resolution beyond 300 mm, as it is when ps are
            taken for mm.
    """

    bins: int
    bin_width: float
    fwhm: float

    def __post_init__(self) -> None:
        if int(self.bins) != self.bins or self.bins < 1:
            raise ValueError(f"TOF: bins is {self.bins}, expected a whole number >= 1")
        for name in ("bin_width", "fwhm"):
            value = float(getattr(self, name))
            if not 0 < value < math.inf:
                raise ValueError(f"TOF: {name} is {value:g}, expected a positive length in mm; see TOF.from_times")
        if self.fwhm > _COARSEST:
            raise ValueError(
                f"TOF: fwhm is {self.fwhm:g} mm, {self.fwhm / _MM_PER_PS:.0f} ps; expected at most {_COARSEST:g} mm; "
                f"1 ps is {_MM_PER_PS:.2f} mm: TOF.from_times takes ps"
            )

    @classmethod
    def from_times(cls, bins: int, bin_width: float, fwhm: float) -> Self:
        """Width and resolution in ps, of the difference of arrival times.

        Raises:
            ValueError: if the resolution is below 10 ps, as only nanoseconds are.
        """
        if not fwhm >= _LEAST_PS:
            raise ValueError(
                f"TOF.from_times: fwhm is {fwhm:g} ps, expected at least {_LEAST_PS:g}, and of scanners 200 to 600; "
                "multiply nanoseconds by 1000"
            )
        return cls(bins, bin_width * _MM_PER_PS, fwhm * _MM_PER_PS)

    def check(self, diameter: float) -> None:
        """Raise ValueError if bins cover a scanner of this diameter, mm, as only mistaken units make them."""
        covered = self.bins * self.bin_width
        if not _LEAST * diameter <= covered <= _MOST * diameter:
            raise ValueError(
                f"TOF: {self.bins} bins of {self.bin_width:.4g} mm, {self.bin_width / _MM_PER_PS:.4g} ps, cover "
                f"{covered:.4g} mm of a scanner {diameter:.4g} mm wide, expected {_LEAST:g} to {_MOST:g} times its "
                f"width; 1 ps is {_MM_PER_PS:.2f} mm: TOF takes mm, TOF.from_times ps"
            )

    @property
    def sigma(self) -> float:
        """Standard deviation of the resolution, mm."""
        return self.fwhm / math.sqrt(8 * math.log(2))

    @property
    def reach(self) -> float:
        """Where the Gaussian is cut off, bins."""
        return SIGMAS * self.sigma / self.bin_width

    def table(self) -> NDArray[np.float32]:
        """(steps + 1, window) integrals over whole bins, not yet divided by their sum.

        Row i is for a position a fraction i / steps beyond the middle of bin n; column j is for bin
        n + j - (window / 2 - 1).
        """
        half = math.ceil(self.reach) + 1
        fraction = np.linspace(0, 1, _STEPS + 1)[:, None]
        edges = np.arange(-half, half + 3) - 0.5
        scaled = (edges - fraction) * self.bin_width / (math.sqrt(2) * self.sigma)
        return np.diff(torch.erf(torch.from_numpy(scaled)).numpy() / 2, axis=1).astype(np.float32)
