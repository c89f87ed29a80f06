"""List mode of the Siemens Biograph mMR: 32-bit words, one a coincidence or a tag.

Little-endian words. With bit 31 set a word is a tag: of time in ms where bits 29 and 30 are clear, of something else
(dead time, gating, bed) otherwise. Else it is a coincidence, prompt with bit 30 set and delayed without; its other 30
bits are an address (sinogram 252 + view) 344 + bin within 4084 sinograms without axial compression, those of ring
differences 0, -1, +1, ... -60, +60, each by ring. That is the order of `Sinogram(344, 60)`. What headers say of
segments of span 11 is of the sinograms the scanner makes, not of the addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.io.atomic import check_exists
from scoreinv.operators.lines import Indices, check_events
from scoreinv.operators.scanner import PETScanner, Sinogram

_ADDRESSED = Sinogram(radial_bins=344, max_ring_difference=60)
_WORDS = 1 << 22  # at a time
_TAG, _PROMPT = np.uint32(1 << 31), np.uint32(1 << 30)
_ADDRESS, _TIME = np.uint32((1 << 30) - 1), np.uint32((1 << 29) - 1)


@dataclass(frozen=True, eq=False)
class ListModeEvents:
    """Coincidences in the order they were counted, as bins of a sinogram.

    Args:
        prompts: (events, 3) int16, radial bin, view and plane; what `ListModePET` takes.
        delays: (events, 3) int16, of the delayed window: randoms without anything else; in bins of their own sinogram.
        seconds: between the first tag of time and the last.
        outside: prompts and delays that their sinogram has no bin for.
    """

    prompts: Tensor
    delays: Tensor
    seconds: float
    outside: tuple[int, int]


def read_siemens_list_mode(
    path: str | Path, sinogram: Sinogram = _ADDRESSED, delays: Sinogram | None = None
) -> ListModeEvents:
    """Read list mode of a Biograph mMR, a part of the file at a time.

    Args:
        path: the words (`.l`); headers are not needed.
        sinogram: to sort into, of `PETScanner.biograph_mmr()`; may be smaller than what is addressed, or have a span.
        delays: to sort the delays into, such as all that is addressed; None takes that of the prompts.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty or ends within a word, or holds addresses that the scanner does not have.
    """
    path = check_exists(path, (".l",), "Siemens 32-bit list mode")
    size = path.stat().st_size
    if size % 4:
        raise ValueError(f"{path}: {size} bytes are no whole number of 32-bit words; the file was cut, copy it again")
    if size == 0:
        raise ValueError(f"{path}: is empty, expected 32-bit words of list mode; copy it again")
    scanner = PETScanner.biograph_mmr()
    sorting = [_Sorting.into(target, scanner) for target in (sinogram, sinogram if delays is None else delays)]
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    times: list[int] = []
    outside = [0, 0]
    for words in _chunks(path):
        tags = words[words >= _TAG]
        stamps = tags[(tags >> 29) == 4] & _TIME
        times += [int(stamps[0]), int(stamps[-1])] if len(stamps) else []
        events = words[words < _TAG]
        address = (events & _ADDRESS).astype(np.int64)
        addresses = 344 * 252 * len(sorting[0].plane_of)
        if len(address) and int(address.max()) >= addresses:
            raise ValueError(
                f"{path}: holds the address {int(address.max())}, expected less than {addresses}; is it 32-bit list "
                "mode of a Biograph mMR?"
            )
        rest, radial = np.divmod(address, 344)
        plane, view = np.divmod(rest, 252)
        for kind, chosen in enumerate((events >= _PROMPT, events < _PROMPT)):
            bins, inside = sorting[kind].bins(radial[chosen], view[chosen], plane[chosen])
            found[kind].append(torch.from_numpy(bins[inside].astype(np.int16)))
            outside[kind] += int((~inside).sum())
    none = torch.empty(0, 3, dtype=torch.int16)
    seconds = (times[-1] - times[0]) / 1000 if times else 0.0
    prompts, others = (torch.cat([none, *events]) for events in found)
    return ListModeEvents(prompts, others, seconds, (outside[0], outside[1]))


def histogram(events: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Counts of every bin, float32.

    Args:
        events: (events, axes) whole numbers within the shape.
        shape: of the sinogram, such as `LinesOfResponse.shape`.

    Raises:
        TypeError, ValueError: for other numbers, or events outside the shape.
    """
    check_events("histogram", events, shape)
    flat = torch.zeros(len(events), dtype=torch.int64)
    for axis, size in enumerate(shape):
        flat = flat * size + events[:, axis]
    return torch.bincount(flat, minlength=int(np.prod(shape))).float().reshape(shape)


def _chunks(path: Path) -> Iterator[NDArray[np.uint32]]:
    with path.open("rb") as file:
        while len(words := np.fromfile(file, dtype="<u4", count=_WORDS)):
            yield words


@dataclass(frozen=True, eq=False)
class _Sorting:
    """From what is addressed to the bins of a sinogram.

    Args:
        plane_of: (4084,) plane of the sinogram that every addressed one goes to, -1 for none.
        radial: its radial bins.
    """

    plane_of: NDArray[np.int64]
    radial: int

    @classmethod
    def into(cls, sinogram: Sinogram, scanner: PETScanner) -> Self:
        target = {pair: index for index, plane in enumerate(sinogram.planes(scanner)) for pair in plane}
        planes = [target.get(pair, -1) for (pair,) in _ADDRESSED.planes(scanner)]
        return cls(np.asarray(planes), sinogram.bins(scanner))

    def bins(self, radial: Indices, view: Indices, plane: Indices) -> tuple[Indices, NDArray[np.bool_]]:
        """Bins (events, 3), and which of them the sinogram has, (events,)."""
        bins = np.stack([radial + self.radial // 2 - 344 // 2, view, self.plane_of[plane]], -1)
        return bins, (bins[:, 0] >= 0) & (bins[:, 0] < self.radial) & (bins[:, 2] >= 0)
