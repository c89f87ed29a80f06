"""Lines of response: the crystals at both ends of every bin of a sinogram."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.operators.scanner import PETScanner, Sinogram

Indices = NDArray[np.int64]
Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinesOfResponse:
    """The lines of a sinogram (radial, views, planes).

    A line lies across the axis as its two crystals do, which depends on (radial, view) alone, and along the axis as
    its two rings do, which depends on the plane alone: so two small tables hold all lines, and end points are made from
    them when they are needed. A plane shared by several pairs of rings runs between the means of their positions.

    Args:
        scanner: where the crystals are.
        sinogram: which pairs of them are lines.
        every: views every[0], every[0] + every[1], ... of the scanner's.

    Raises:
        ValueError: if the sinogram asks for more than the scanner has.
    """

    scanner: PETScanner
    sinogram: Sinogram = field(default_factory=Sinogram)
    every: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        self.sinogram.bins(self.scanner)
        self.sinogram.planes(self.scanner)

    @cached_property
    def views(self) -> Indices:
        """(views,) numbers of the views among the scanner's."""
        return np.arange(self.every[0], self.scanner.crystals // 2, self.every[1])

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(radial, views, planes)."""
        return self.sinogram.bins(self.scanner), len(self.views), len(self._planes)

    @cached_property
    def crystals(self) -> tuple[Indices, Indices]:
        """First and second crystal within the ring, each (radial, views)."""
        bins, n = self.sinogram.bins(self.scanner), self.scanner.crystals
        t = (np.arange(bins) - bins // 2)[:, None]
        return (self.views + t // 2) % n, (self.views - (t + 1) // 2 + n // 2) % n

    @cached_property
    def ends(self) -> tuple[Points, Points]:
        """Positions across the axis of both crystals, each (radial, views, 2) in (y, x), mm."""
        positions = self.scanner.positions()
        first, second = self.crystals
        return positions[first], positions[second]

    @cached_property
    def z(self) -> tuple[Points, Points]:
        """Positions along the axis of both ends, each (planes,), mm."""
        rings = np.asarray(self.scanner.ring_positions)
        first = [np.mean([rings[pair[0]] for pair in plane]) for plane in self._planes]
        second = [np.mean([rings[pair[1]] for pair in plane]) for plane in self._planes]
        return np.asarray(first), np.asarray(second)

    @cached_property
    def multiplicity(self) -> Tensor:
        """(planes,) float32, pairs of rings that share each plane."""
        return torch.tensor([len(plane) for plane in self._planes], dtype=torch.float32)

    def subset(self, i: int, n: int) -> Self:
        """The lines of views i, i + n, i + 2n, ..."""
        if not 0 <= i < n <= len(self.views):
            raise ValueError(f"LinesOfResponse: subset {i} of {n}; expected 0 <= i < n <= {len(self.views)} views")
        begin, step = self.every
        return type(self)(self.scanner, self.sinogram, (begin + i * step, n * step))

    def points(self, radial: Indices, view: Indices, plane: Indices) -> tuple[Points, Points]:
        """Both end points of single lines, each (lines, 3) in (z, y, x), mm."""
        sides = zip(self.z, self.ends, strict=True)
        first, second = (np.column_stack([z[plane], across[radial, view]]) for z, across in sides)
        return first, second

    def segments(self, views: slice) -> tuple[Points, Points]:
        """Both ends of every line of these views, each (radial, views, planes, 3) in (z, y, x), mm."""

        def points(z: Points, across: Points) -> Points:
            result = np.empty((*across.shape[:2], len(z), 3))
            result[..., 0], result[..., 1:] = z, across[:, :, None]
            return result

        (first_z, last_z), (first, last) = self.z, self.ends
        return points(first_z, first[:, views]), points(last_z, last[:, views])

    def products(self, values: Tensor) -> Tensor:
        """What a property of single crystals makes of pairs: products, summed over the pairs of rings of a plane.

        With efficiencies this is a normalisation, times the multiplicity; with rates of single photons it is the
        expected randoms.

        Args:
            values: (rings, crystals).

        Returns:
            (radial, views, planes), of the dtype of the values.

        Raises:
            ValueError: for another shape.
        """
        wanted = (self.scanner.rings, self.scanner.crystals)
        if tuple(values.shape) != wanted:
            raise ValueError(
                f"LinesOfResponse: values have shape {tuple(values.shape)}, expected (rings, crystals) = {wanted}"
            )
        first, second = (values.index_select(1, torch.from_numpy(ends).flatten()) for ends in self.crystals)
        # Plane by plane first, since single elements far apart would be slow to write.
        result = values.new_zeros(len(self._planes), first.shape[1])
        for index, plane in enumerate(self._planes):
            for a, b in plane:
                result[index] += first[a] * second[b]
        return result.T.contiguous().reshape(self.shape)

    @cached_property
    def _planes(self) -> list[list[tuple[int, int]]]:
        return self.sinogram.planes(self.scanner)


def check_events(name: str, events: Tensor, shape: tuple[int, ...]) -> None:
    """Raise TypeError or ValueError unless events, (events, axes) whole numbers, are bins of a sinogram of `shape`."""
    if not isinstance(events, Tensor):
        raise TypeError(
            f"{name}: events are {type(events).__name__}, expected a tensor; use torch.from_numpy of an array"
        )
    if events.is_floating_point() or events.is_complex() or events.dtype == torch.bool:
        raise TypeError(f"{name}: events are {events.dtype}, expected whole numbers, the bins of each event")
    if events.ndim != 2 or events.shape[1] != len(shape):
        raise ValueError(f"{name}: events have shape {tuple(events.shape)}, expected (events, {len(shape)})")
    for axis, size in enumerate(shape):
        if len(events) and not 0 <= int(events[:, axis].min()) <= int(events[:, axis].max()) < size:
            raise ValueError(
                f"{name}: column {axis} of events runs from {int(events[:, axis].min())} to "
                f"{int(events[:, axis].max())}, expected 0 to {size - 1} as in the sinogram {shape}"
            )
