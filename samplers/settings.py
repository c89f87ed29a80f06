"""Settings of a part out of their range: refused when it is made, in one form of words."""

from __future__ import annotations

import math


def within(part: object, low: float, high: float, *names: str) -> None:
    """Raise ValueError unless these settings of the part lie from low to high; NaN lies nowhere."""
    expected = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
    for name in names:
        if not low <= getattr(part, name) <= high:
            raise ValueError(f"{type(part).__name__}: {name} is {getattr(part, name)}, expected {expected}")


def positive(part: object, *names: str) -> None:
    """Raise ValueError unless these settings of the part are more than 0."""
    for name in names:
        if not getattr(part, name) > 0:
            raise ValueError(f"{type(part).__name__}: {name} is {getattr(part, name)}, expected more than 0")
