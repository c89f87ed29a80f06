"""Where deepinv keeps the channels of an array: images and measurements, (batch, channels, *shape)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where an array of ours, (*batch, *shape), keeps its channels in deepinv.

    Attributes:
        shape, dtype: ours.
        channel: "one" if deepinv has an axis of length one more, "parts" for real and imaginary part, "" for the same.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    channel: str

    @classmethod
    def ours(cls, shape: tuple[int, ...], dtype: torch.dtype) -> Layout:
        """How deepinv shall see an array of this shape and dtype."""
        return cls(shape, dtype, "parts" if dtype.is_complex else "one")

    @classmethod
    def theirs(cls, example: Tensor, complex_channels: bool, what: str) -> Layout:
        """How to see an array of deepinv, (1, *shape)."""
        shape = tuple(example.shape[1:])
        if complex_channels and not example.is_complex():
            if len(shape) < 2 or shape[0] != 2:
                raise ValueError(
                    f"{what} have shape {shape}, expected (2, ...) for real and imaginary part; "
                    "pass complex_channels=False if they are real"
                )
            return cls(shape[1:], example.dtype.to_complex(), "parts")
        if len(shape) >= 2 and shape[0] == 1:
            return cls(shape[1:], example.dtype, "one")
        return cls(shape, example.dtype, "")

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """Of one array in deepinv, without its batch axis."""
        return {"one": (1,), "parts": (2,), "": ()}[self.channel] + self.shape

    def pack(self, x: Tensor) -> Tensor:
        """(n, *shape) -> (n, *packed_shape)."""
        if self.channel == "parts":
            return torch.view_as_real(x).movedim(-1, 1)
        return x.unsqueeze(1) if self.channel == "one" else x

    def unpack(self, x: Tensor, what: str) -> Tensor:
        """(n, *packed_shape) -> (n, *shape), in our dtype."""
        if tuple(x.shape[1:]) != self.packed_shape:
            expected = ", ".join(map(str, self.packed_shape))
            raise ValueError(f"{what} of shape {tuple(x.shape)}, expected (batch, {expected})")
        if self.channel == "parts":
            check_real(x, what)
            x = torch.view_as_complex(x.to(self.dtype.to_real()).movedim(1, -1).contiguous())
        elif self.channel == "one":
            x = x.squeeze(1)
        if x.is_complex() and not self.dtype.is_complex:
            # A^H y of complex data and real images: what lies outside of the real images is projected away.
            x = x.real
        return x.to(self.dtype)


def check_real(x: Tensor, what: str) -> None:
    if x.is_complex():
        raise TypeError(f"{what} is {x.dtype}, expected real and imaginary part as two channels, (batch, 2, ...)")
