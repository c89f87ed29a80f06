"""PET scanners: where the crystals are, and how coincidences are sorted into a sinogram. Lengths in mm.

Crystals stand on the sides of a regular polygon, ring after ring. Seen with x to the right and y downwards, which in
the package's axes is the patient from the feet, crystal 0 begins the side on top, the one about (x, y) = (0, -radius),
unless all is turned, and numbers run towards +x. Sinograms are sorted as STIR and parallelproj 2 sort them: in view v
the bin at signed position t joins crystal v + floor(t / 2) with crystal v - ceil(t / 2) + n / 2, of n crystals a ring;
positions are not arc-corrected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class PETScanner:
    """Rings of crystals on a regular polygon.

    Args:
        radius: distance from the axis to the middle of a side, at the depth where photons interact, mm.
        sides: of the polygon; times `crystals_per_side` even, so that crystals have an opposite one.
        crystals_per_side: crystals in a row along a side, gaps that are addressed like crystals included.
        crystal_size: from one crystal to the next along a side, mm.
        ring_positions: z of every ring, ascending or descending, mm.
        rotation: by which all is turned from the top towards +x, rad.

    Raises:
        ValueError: for lengths or numbers that are not positive, a rotation that is not finite, an odd number of
            crystals, crystals that do not fit on their side, or rings out of order.
    """

    radius: float
    sides: int
    crystals_per_side: int
    crystal_size: float
    ring_positions: tuple[float, ...]
    rotation: float = 0.0

    def __post_init__(self) -> None:
        rings = np.asarray(self.ring_positions, dtype=np.float64)
        if rings.ndim != 1 or rings.size == 0 or not np.isfinite(rings).all() or not _monotonic(rings):
            raise ValueError(
                f"PETScanner: ring_positions are {self.ring_positions}, expected positions in mm along z, one a ring, "
                "ascending or descending"
            )
        object.__setattr__(self, "ring_positions", tuple(rings.tolist()))
        for name in ("radius", "crystal_size"):
            value = float(getattr(self, name))
            if not 0 < value < math.inf:
                raise ValueError(f"PETScanner: {name} is {value:g}, expected a positive length in mm")
            object.__setattr__(self, name, value)
        for name, least in (("sides", 3), ("crystals_per_side", 1)):
            number = getattr(self, name)
            if int(number) != number or number < least:
                raise ValueError(f"PETScanner: {name} is {number}, expected a whole number >= {least}")
            object.__setattr__(self, name, int(number))
        if not math.isfinite(self.rotation):
            raise ValueError(f"PETScanner: rotation is {self.rotation}, expected an angle in rad")
        if self.crystals % 2:
            raise ValueError(
                f"PETScanner: {self.sides} sides of {self.crystals_per_side} crystals are {self.crystals} a ring, "
                "expected an even number"
            )
        room = 2 * self.radius * math.tan(math.pi / self.sides)
        if self.crystals_per_side * self.crystal_size > 1.01 * room:
            raise ValueError(
                f"PETScanner: {self.crystals_per_side} crystals of {self.crystal_size:g} mm do not fit on a side of "
                f"{room:.4g} mm; expected a larger radius, all lengths in mm"
            )

    @classmethod
    def demo(cls, rings: int = 8) -> Self:
        """A small scanner for examples: 28 sides of 8 crystals of 4.8 mm, rings 5 mm apart."""
        return cls(180.0, 28, 8, 4.8, _centered(rings, 5.0))

    @classmethod
    def biograph_mmr(cls) -> Self:
        """The Siemens Biograph mMR: 64 rings of 56 blocks; each block's eight crystals and a gap addressed as a ninth.

        Radius of the crystals' faces, 328 mm, and a mean depth of interaction of 6.7 mm (7 mm in STIR's list of
        scanners); crystals and gaps share the circumference evenly. Crystals 0, 9, 18, ... are the gaps, see
        `mmr_efficiencies`; the first is on top, as STIR has it. Of a patient who lies head first, ring 0
        is the most superior, so positions descend.
        """
        radius, sides, addresses = 328.0 + 6.7, 56, 9
        first_on_top = (addresses - 1) / 2 * 2 * math.pi / (sides * addresses)
        size = 2 * radius * math.tan(math.pi / sides) / addresses
        return cls(radius, sides, addresses, size, _centered(64, -4.0625), first_on_top)

    @property
    def crystals(self) -> int:
        """Crystals of one ring."""
        return self.sides * self.crystals_per_side

    @property
    def rings(self) -> int:
        return len(self.ring_positions)

    def positions(self) -> NDArray[np.float64]:
        """(crystals, 2) positions (y, x) of the crystals of a ring, mm."""
        side, place = np.divmod(np.arange(self.crystals), self.crystals_per_side)
        angle = 2 * np.pi * side / self.sides + self.rotation
        along = (place - (self.crystals_per_side - 1) / 2) * self.crystal_size
        y = -self.radius * np.cos(angle) + along * np.sin(angle)
        x = self.radius * np.sin(angle) + along * np.cos(angle)
        return np.stack([y, x], -1)


@dataclass(frozen=True)
class Sinogram:
    """Which pairs of crystals a sinogram holds, and which of them share a plane.

    Planes are ordered by segment 0, -1, +1, -2, +2, ... and within a segment by ring. Segment s joins rings whose
    difference, the second ring less the first, lies within (span - 1) / 2 of s span; ring pairs of a segment with the
    same middle share a plane (Fahey 2002, J. Nucl. Med. Technol. 30:39, "Michelogram").

    Args:
        radial_bins: the central so many bins of every view; None keeps all, crystals of a ring - 1.
        max_ring_difference: at most so many rings apart; None keeps all.
        span: odd number of ring differences in a segment; 1 gives every pair of rings a plane of its own.

    Raises:
        ValueError: for numbers that are not whole, or out of their range.
    """

    radial_bins: int | None = None
    max_ring_difference: int | None = None
    span: int = 1

    def __post_init__(self) -> None:
        for name, least in (("radial_bins", 1), ("max_ring_difference", 0), ("span", 1)):
            number = getattr(self, name)
            if number is None and name != "span":
                continue
            if not isinstance(number, Real) or float(number) % 1 != 0 or number < least:
                raise ValueError(f"Sinogram: {name} is {number!r}, expected a whole number >= {least}")
            object.__setattr__(self, name, int(float(number)))
        if self.span % 2 == 0:
            raise ValueError(f"Sinogram: span is {self.span}, expected an odd number")

    def bins(self, scanner: PETScanner) -> int:
        """The number of radial bins. Raises ValueError if the scanner has fewer."""
        most = scanner.crystals - 1
        if self.radial_bins is not None and self.radial_bins > most:
            raise ValueError(
                f"Sinogram: radial_bins is {self.radial_bins}, expected at most {most} with {scanner.crystals} crystals"
            )
        return most if self.radial_bins is None else self.radial_bins

    def planes(self, scanner: PETScanner) -> list[list[tuple[int, int]]]:
        """The pairs of rings (first, second) of every plane. Raises ValueError if the scanner has fewer rings."""
        most = scanner.rings - 1
        if self.max_ring_difference is not None and self.max_ring_difference > most:
            raise ValueError(
                f"Sinogram: max_ring_difference is {self.max_ring_difference}, expected at most {most} with "
                f"{scanner.rings} rings"
            )
        reach = most if self.max_ring_difference is None else self.max_ring_difference
        segments = [0]
        for segment in range(1, (reach + self.span // 2) // self.span + 1):
            segments += [-segment, segment]
        planes: list[list[tuple[int, int]]] = []
        for segment in segments:
            shared: dict[int, list[tuple[int, int]]] = {}
            middle = segment * self.span
            for difference in range(middle - self.span // 2, middle + self.span // 2 + 1):
                if abs(difference) <= reach:
                    for first in range(max(0, -difference), scanner.rings - max(0, difference)):
                        shared.setdefault(2 * first + difference, []).append((first, first + difference))
            planes += [shared[key] for key in sorted(shared)]
        return planes


def mmr_efficiencies() -> Tensor:
    """(rings, crystals) float32 for `PETScanner.biograph_mmr()`: 1 for crystals, 0 for gaps.

    With `LinesOfResponse.products` they become the normalisation of an otherwise uncalibrated scan.
    """
    scanner = PETScanner.biograph_mmr()
    efficiencies = torch.ones(scanner.rings, scanner.crystals)
    efficiencies[:, :: scanner.crystals_per_side] = 0
    return efficiencies


def herman_meyer(subsets: int) -> list[int]:
    """0 ... subsets - 1, ordered so that any few in turn lie far apart.

    The mixed-radix digits of a position, over the prime factors of `subsets`, are read in reverse.

    Herman and Meyer 1993, IEEE TMI 12:600.

    Raises:
        ValueError: without a subset.
    """
    if subsets < 1:
        raise ValueError(f"herman_meyer: subsets is {subsets}, expected at least 1")
    order, rest, factor = [0], subsets, 2
    while rest > 1:
        while rest % factor:
            factor += 1
        rest //= factor
        # The digit that turns fastest in time is the largest in place.
        order = [rest * digit + earlier for digit in range(factor) for earlier in order]
    return order


def _monotonic(positions: NDArray[np.float64]) -> bool:
    steps = np.diff(positions)
    return bool((steps > 0).all() or (steps < 0).all())


def _centered(rings: int, pitch: float) -> tuple[float, ...]:
    return tuple(((np.arange(rings) - (rings - 1) / 2) * pitch).tolist())
