"""PET sinograms as STIR writes them: an Interfile header (`.hs`) beside the numbers (`.s`).

Interfile 3.3 with STIR's additions: a segment after the other in the order the header gives, each by plane and view or
by view and plane, the tangential position fastest. STIR places crystals evenly on a circle, and so does the scanner
given here. A patient lies head first and on the back unless the header says otherwise; then z of the package's axes
points against that of STIR, and rings, counted along STIR's, descend.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.io.atomic import check_exists
from scoreinv.operators.scanner import PETScanner, Sinogram

_LETTERS = {"float": "f", "signed integer": "i", "unsigned integer": "u"}
_ORDERS = {"bigendian": ">", "littleendian": "<"}


@dataclass(frozen=True, eq=False)
class InterfileSinogram:
    """What a STIR sinogram holds.

    Args:
        data: (radial, views, planes) float32, in the order of `sinogram`.
        scanner, sinogram: where its lines run, for `PET` and `LinesOfResponse`.
    """

    data: Tensor
    scanner: PETScanner
    sinogram: Sinogram


def read_interfile_sinogram(path: str | Path) -> InterfileSinogram:
    """Read a sinogram of STIR without time of flight.

    Args:
        path: the header, `.hs`; the numbers lie where it says.

    Raises:
        FileNotFoundError: without header or numbers.
        ValueError: if the header lacks a key, contradicts itself or the size of the numbers, or describes what is not
            read: time of flight, arc correction, mashed views, even spans, rotated gantries, patients who do not lie
            head first and on the back.
    """
    header = _Header(check_exists(path, (".hs",), "an Interfile header of STIR"))
    header.expect("number of dimensions", lambda value: float(value) == 4, "4, without time of flight")
    header.expect("applied corrections", lambda value: "arc" not in value, "data without arc correction")
    header.expect("view offset (degrees)", lambda value: float(value) == 0, "0")
    header.expect("patient orientation", lambda value: value in ("head_in", "unknown"), "head_in")
    header.expect("patient rotation", lambda value: value in ("supine", "unknown"), "supine")
    scanner = _scanner(header)
    axes = {header.get(f"matrix axis label [{n}]").lower(): n for n in range(1, 5)}
    order = [name for name, _ in sorted(axes.items(), key=lambda item: -item[1])]
    by_view = order == ["segment", "view", "axial coordinate", "tangential coordinate"]
    if not by_view and order != ["segment", "axial coordinate", "view", "tangential coordinate"]:
        raise ValueError(
            f"{header.path}: axes from slowest to fastest are {order}, expected segment, axial coordinate and view or "
            "view and axial coordinate, tangential coordinate"
        )
    views, bins = (header.integers(f"matrix size [{axes[name]}]")[0] for name in ("view", "tangential coordinate"))
    counts = header.integers(f"matrix size [{axes['axial coordinate']}]")
    if views != scanner.crystals // 2:
        raise ValueError(
            f"{header.path}: {views} views, expected {scanner.crystals // 2} with {scanner.crystals} crystals a ring; "
            "mashed views are not read"
        )
    sinogram, segments = _segments(header, scanner, counts, bins)
    values = _values(header, views * bins * sum(counts))
    data = torch.empty(bins, views, sum(counts))
    start = 0
    for planes in segments:
        block = values[start : start + len(planes) * views * bins]
        start += len(block)
        shape = (views, len(planes), bins) if by_view else (len(planes), views, bins)
        axial_last = (2, 0, 1) if by_view else (2, 1, 0)
        data[..., planes] = torch.from_numpy(block.reshape(shape).transpose(axial_last).astype(np.float32))
    return InterfileSinogram(data, scanner, sinogram)


class _Header:
    """Values by key, keys in lower case and without the mark of those that are required."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, str] = {}
        for line in path.read_text(errors="replace").splitlines():
            key, found, value = line.partition(":=")
            if found and not line.lstrip().startswith(";"):
                self.values[" ".join(key.replace("!", "").replace("[", " [").split()).lower()] = value.strip()

    def get(self, key: str) -> str:
        if key not in self.values:
            raise ValueError(f"{self.path}: has no key '{key}', expected the header of a PET sinogram of STIR")
        return self.values[key]

    def number(self, key: str) -> float:
        value = self.get(key)
        try:
            return float(value)
        except ValueError as error:
            raise ValueError(f"{self.path}: '{key}' is {value!r}, expected a number") from error

    def integers(self, key: str) -> list[int]:
        """One number, or a list of them in braces."""
        value = self.get(key)
        if not re.fullmatch(r"\{?[-+\d\s,]+\}?", value):
            raise ValueError(f"{self.path}: '{key}' is {value!r}, expected whole numbers")
        return [int(number) for number in re.findall(r"[-+]?\d+", value)]

    def expect(self, key: str, condition: Callable[[str], bool], wanted: str) -> None:
        """Raise ValueError if the key is there, with a value that does not meet the condition."""
        value = self.values.get(key)
        if value is not None and not condition(value.lower()):
            raise ValueError(f"{self.path}: '{key}' is {value!r}, expected {wanted}")


def _scanner(header: _Header) -> PETScanner:
    rings, crystals = (int(header.number(f"number of {what}")) for what in ("rings", "detectors per ring"))
    depth = header.number("average depth of interaction (cm)")
    radius = 10 * (header.number("inner ring diameter (cm)") / 2 + depth)
    pitch = 10 * header.number("distance between rings (cm)")
    positions = ((rings - 1) / 2 - np.arange(rings)) * pitch
    return PETScanner(radius, crystals, 1, 2 * radius * math.tan(math.pi / crystals), tuple(positions.tolist()))


def _segments(
    header: _Header, scanner: PETScanner, counts: list[int], bins: int
) -> tuple[Sinogram, list[NDArray[np.int64]]]:
    """How lines were sorted, and the numbers of the planes of each segment in the file."""
    low, high = (header.integers(f"{which} ring difference per segment") for which in ("minimum", "maximum"))
    central = [last for first, last in zip(low, high, strict=False) if first == -last]
    if not len(low) == len(high) == len(counts) or len(central) != 1:
        raise ValueError(
            f"{header.path}: segments have {counts} planes and ring differences from {low} to {high}, expected as many "
            "of each, and one segment that reaches as far below 0 as above; even spans are not read"
        )
    sinogram = Sinogram(bins, max(high), 2 * central[0] + 1)
    planes = sinogram.planes(scanner)
    differences = np.asarray([plane[0][1] - plane[0][0] for plane in planes])
    ranges = zip(low, high, strict=True)
    segments = [np.flatnonzero((first <= differences) & (differences <= last)) for first, last in ranges]
    if [len(segment) for segment in segments] != counts or sum(counts) != len(planes):
        raise ValueError(
            f"{header.path}: segments have {counts} planes, expected {[len(segment) for segment in segments]} of "
            f"{scanner.rings} rings and {len(planes)} in all"
        )
    return sinogram, segments


def _values(header: _Header, number: int) -> NDArray[np.generic]:
    form, order = header.get("number format").lower(), header.get("imagedata byte order").lower()
    if form not in _LETTERS or order not in _ORDERS:
        raise ValueError(
            f"{header.path}: numbers are {form!r} and {order!r}, expected {', '.join(_LETTERS)}; {', '.join(_ORDERS)}"
        )
    kind = np.dtype(f"{_ORDERS[order]}{_LETTERS[form]}{int(header.number('number of bytes per pixel'))}")
    file = header.path.parent / header.get("name of data file")
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file, expected the numbers of {header.path}")
    offset = next((int(header.number(key)) for key in header.values if key.startswith("data offset in bytes")), 0)
    size = file.stat().st_size - offset
    if size != number * kind.itemsize:
        raise ValueError(
            f"{file}: has {size} bytes of numbers, expected {number * kind.itemsize}, {number} of {kind.itemsize} "
            f"bytes each, as {header.path} says"
        )
    return np.fromfile(file, dtype=kind, offset=offset)
