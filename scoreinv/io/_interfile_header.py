"""Headers of Interfile 3.3 with STIR's additions, and the numbers in the file they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LETTERS = {"float": "f", "signed integer": "i", "unsigned integer": "u"}
_BYTES = {"f": (4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8)}
_ABSURD = 1e30  # no unit makes counts or activities so large, or all of them so small
_SAMPLE = 1 << 20  # numbers that are looked at
_ORDERS = {"bigendian": ">", "littleendian": "<"}


class InterfileHeader:
    """Values by key. As STIR compares them, keys are in lower case, with `!`, `_` and blanks alike one blank.

    All methods raise ValueError, without the file's name, for a key that is not there or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, str] = {}
        for line in path.read_text(errors="replace").splitlines():
            key, found, value = line.partition(":=")
            if found and not line.lstrip().startswith(";"):
                self.values[re.sub(r"[\s_!]+", " ", key.replace("[", " [")).strip().lower()] = value.strip()

    def get(self, key: str) -> str:
        if key not in self.values:
            raise ValueError(f"has no key '{key}', expected a header written by STIR")
        return self.values[key]

    def number(self, key: str) -> float:
        return self._numbers(key, "a number", 1)[0]

    def length(self, key: str) -> float:
        """A positive number."""
        value = self.number(key)
        if value <= 0:
            raise ValueError(f"'{key}' is {value:g}, expected a positive number")
        return value

    def count(self, key: str) -> int:
        """A whole number that is at least 1."""
        value = self.number(key)
        if value != int(value) or value < 1:
            raise ValueError(f"'{key}' is {self.get(key)!r}, expected a whole number >= 1")
        return int(value)

    def integers(self, key: str) -> list[int]:
        """One number, or a list of them in braces."""
        values = self._numbers(key, "whole numbers")
        if any(value != int(value) for value in values):
            raise ValueError(f"'{key}' is {self.get(key)!r}, expected whole numbers")
        return [int(value) for value in values]

    def expect(self, key: str, *allowed: str) -> None:
        """Raise ValueError if the key is there, with another value than those allowed."""
        value = self.values.get(key)
        if value is not None and value.lower() not in allowed:
            raise ValueError(f"'{key}' is {value!r}, expected {' or '.join(allowed)}")

    def factors(self) -> NDArray[np.float32]:
        """What the numbers are to be multiplied by: one factor, or one a plane.

        `quantification units`, which older readers know, is either that same factor again or takes its place.
        """
        key = next((key for key in self.values if key.startswith("image scaling factor")), None)
        factors = np.asarray([1.0] if key is None else self._numbers(key, "numbers"))
        units = self.number("quantification units") if "quantification units" in self.values else 1.0
        if units != 1 and (factors == 1).all():
            factors = np.asarray([units])
        elif units != 1 and (factors != units).any():
            raise ValueError(f"'quantification units' is {units:g} and '{key}' {self.get(str(key))}, expected the same")
        return factors.astype(np.float32)

    def numbers(self, count: int) -> NDArray[np.generic]:
        """The `count` numbers of the data file, as they are stored.

        Raises:
            FileNotFoundError: without that file.
            ValueError: if it has another size, or numbers are of an unknown kind, or such as only bytes in the wrong
                order give.
        """
        form, order = self.get("number format").lower(), self.get("imagedata byte order").lower()
        if form not in _LETTERS or order not in _ORDERS:
            raise ValueError(
                f"numbers are {form!r} and {order!r}, expected {', '.join(_LETTERS)}; {', '.join(_ORDERS)}"
            )
        letter, width = _LETTERS[form], self.count("number of bytes per pixel")
        if width not in _BYTES[letter]:
            raise ValueError(f"numbers are {form!r} of {width} bytes, expected {', '.join(map(str, _BYTES[letter]))}")
        kind = np.dtype(f"{_ORDERS[order]}{letter}{width}")
        file = self.path.parent / self.get("name of data file")
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file, expected the numbers of {self.path}; copy both")
        key = next((key for key in self.values if key.startswith("data offset in bytes")), None)
        offset = 0 if key is None else self.integers(key)[0]
        size = file.stat().st_size - offset
        if offset < 0 or size != count * width:
            raise ValueError(
                f"{file.name} has {size} bytes of numbers from byte {offset} on, expected {count * width}, {count} of "
                f"{width} bytes each; copy both files again"
            )
        values = np.fromfile(file, dtype=kind, offset=offset)
        if _swapped(values):
            raise ValueError(
                f"numbers run up to {_greatest(values):.3g} with 'imagedata byte order' {order!r}, up to "
                f"{_greatest(values.view(kind.newbyteorder())):.3g} with the other; correct the key"
            )
        return values

    def _numbers(self, key: str, wanted: str, count: int | None = None) -> list[float]:
        words = self.get(key).strip("{} ").split(",")
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if not values or not np.isfinite(values).all() or count not in (None, len(values)):
            raise ValueError(f"'{key}' is {self.get(key)!r}, expected {wanted}")
        return values


def _swapped(values: NDArray[Any]) -> bool:
    """Whether the bytes of the numbers stand in the wrong order.

    Reversed, the fine digits of a float become its exponent, and 1.0 becomes 5e-41: many are absurd in one order, and
    hardly any in the other. Whole numbers below 256 become multiples of what their highest byte counts.
    """
    if values.dtype.kind == "f":
        some = values[:: max(1, len(values) // _SAMPLE)]
        some = some[some != 0]
        large, small = _absurd(some)
        # Small ones in the right order are voxels after many iterations of EM.
        return large + small > 0.1 and _absurd(some.view(some.dtype.newbyteorder()))[0] < 0.01
    lower = (1 << 8 * (values.dtype.itemsize - 1)) - 1
    if lower == 0 or (values & lower).any():
        return False
    counts = values[values != 0]
    return counts.size > 0 and bool((counts != counts[0]).any())  # one value alone may be a mask's


def _absurd(values: NDArray[Any]) -> tuple[float, float]:
    """Shares that are larger, or no numbers, and that are smaller than any unit makes them; not 0."""
    if not len(values):
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        sizes = np.abs(values)
        return 1 - float((sizes <= _ABSURD).mean()), float((sizes < 1 / _ABSURD).mean())


def _greatest(values: NDArray[Any]) -> float:
    """Of the numbers without their sign; NaN where all are."""
    return max(abs(float(np.fmax.reduce(values))), abs(float(np.fmin.reduce(values))))
