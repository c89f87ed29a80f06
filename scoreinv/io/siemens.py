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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.io.atomic import check_exists
from scoreinv.operators.lines import LinesOfResponse, check_events
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
        delays: (events, 3) int16, of the delayed window: randoms without anything else.
        seconds: between the first tag of time and the last.
        outside: prompts and delays that the sinogram has no bin for.
    """

    prompts: Tensor
    delays: Tensor
    seconds: float
    outside: tuple[int, int]


def read_siemens_list_mode(path: str | Path, sinogram: Sinogram = _ADDRESSED) -> ListModeEvents:
    """Read list mode of a Biograph mMR, a part of the file at a time.

    Args:
        path: the words (`.l`); headers are not needed.
        sinogram: to sort into, of `PETScanner.biograph_mmr()`; may be smaller than what is addressed, or have a span.

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
    target = LinesOfResponse(scanner, sinogram)
    plane_of = _planes(scanner, sinogram)
    shift = target.shape[0] // 2 - 344 // 2
    prompts: list[Tensor] = []
    delays: list[Tensor] = []
    times: list[int] = []
    outside = [0, 0]
    for words in _chunks(path):
        tags = words[words >= _TAG]
        stamps = tags[(tags >> 29) == 4] & _TIME
        times += [int(stamps[0]), int(stamps[-1])] if len(stamps) else []
        events = words[words < _TAG]
        address = (events & _ADDRESS).astype(np.int64)
        addresses = 344 * 252 * len(plane_of)
        if len(address) and int(address.max()) >= addresses:
            raise ValueError(
                f"{path}: holds the address {int(address.max())}, expected less than {addresses}; is it 32-bit list "
                "mode of a Biograph mMR?"
            )
        rest, radial = np.divmod(address, 344)
        plane, view = np.divmod(rest, 252)
        bins = np.stack([radial + shift, view, plane_of[plane]], -1)
        inside = (bins[:, 0] >= 0) & (bins[:, 0] < target.shape[0]) & (bins[:, 2] >= 0)
        for kind, (store, chosen) in enumerate(((prompts, events >= _PROMPT), (delays, events < _PROMPT))):
            store.append(torch.from_numpy(bins[chosen & inside].astype(np.int16)))
            outside[kind] += int((chosen & ~inside).sum())
    none = torch.empty(0, 3, dtype=torch.int16)
    seconds = (times[-1] - times[0]) / 1000 if times else 0.0
    return ListModeEvents(torch.cat([none, *prompts]), torch.cat([none, *delays]), seconds, (outside[0], outside[1]))


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


def _planes(scanner: PETScanner, sinogram: Sinogram) -> NDArray[np.int64]:
    """(4084,) plane of the sinogram that every addressed one goes to, -1 for none."""
    target = {pair: index for index, plane in enumerate(sinogram.planes(scanner)) for pair in plane}
    return np.asarray([target.get(pair, -1) for (pair,) in _ADDRESSED.planes(scanner)])
