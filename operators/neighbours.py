"""Which voxels are neighbours, and how closely."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

Weight = float | Tensor
_RANKED = 1 << 24  # differences of neighbours that are ordered at a time


@dataclass(frozen=True)
class Neighbours:
    """Pairs of voxels of an image, one direction after another; every pair once.

    Attributes:
        shape: of the image.
        offsets: from a voxel to its neighbour, one of each two opposite directions.
        weights: of the pairs of each offset, a number or a tensor like either of `pair(image, offset)`.
    """

    shape: tuple[int, ...]
    offsets: tuple[tuple[int, ...], ...]
    weights: tuple[Weight, ...]

    @classmethod
    def around(cls, shape: Sequence[int], voxel_size: Sequence[float] | None = None) -> Self:
        """The 3^n - 1 voxels around each, with weights 1 / distance in units of the last axis' voxel size.

        Args:
            shape: of the image, n axes.
            voxel_size: n lengths, mm; None for cubes.

        Raises:
            ValueError: if there are not as many positive lengths as axes.
        """
        sizes = (1.0,) * len(shape) if voxel_size is None else tuple(voxel_size)
        if len(sizes) != len(shape) or not all(0 < size < math.inf for size in sizes):
            raise ValueError(f"Neighbours: voxel_size is {sizes}, expected {len(shape)} lengths in mm, one an axis")
        steps = [step for step in itertools.product((0, 1, -1), repeat=len(shape)) if step > (0,) * len(shape)]
        distances = [math.hypot(*(k * size for k, size in zip(step, sizes, strict=True))) for step in steps]
        ranked = sorted(zip(distances, steps, strict=True))
        return cls(tuple(shape), tuple(step for _, step in ranked), tuple(sizes[-1] / far for far, _ in ranked))

    @classmethod
    def along(cls, shape: Sequence[int], axis: int) -> Self:
        """The voxels before and after each along one axis, with weight 1.

        Raises:
            ValueError: if there is no such axis.
        """
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"Neighbours: axis is {axis}, expected one of the {len(shape)} of {tuple(shape)}")
        return cls(tuple(shape), (tuple(int(k == axis % len(shape)) for k in range(len(shape))),), (1.0,))

    def alike(self, anatomy: Tensor, count: int) -> Self:
        """Only those pairs that are alike in another image: each voxel keeps the `count` neighbours most like it there.

        A pair that both of its voxels keep has its whole weight, one that a single voxel keeps half of it. Of
        neighbours equally like it a voxel keeps the nearest.

        Args:
            anatomy: *shape, real; its values matter by their differences alone.
            count: 1 to the number of neighbours.

        Raises:
            TypeError: if the image is no real tensor.
            ValueError: if the image has another shape or is not finite, or the count is out of its range.

        Bowsher et al. 2004, IEEE Nuclear Science Symposium, 4:2488.
        """
        if not isinstance(anatomy, Tensor) or anatomy.is_complex():
            kind = anatomy.dtype if isinstance(anatomy, Tensor) else type(anatomy).__name__
            raise TypeError(
                f"Neighbours: anatomy is {kind}, expected a real tensor; use torch.from_numpy of an array, .abs() of a "
                "complex image"
            )
        if tuple(anatomy.shape) != self.shape:
            raise ValueError(
                f"Neighbours: anatomy has shape {tuple(anatomy.shape)}, expected {self.shape}, on the grid of the image"
            )
        if not bool(torch.isfinite(anatomy).all()):
            raise ValueError("Neighbours: anatomy holds NaN or Inf; set them to a value of its background")
        if not 1 <= count <= 2 * len(self.offsets):
            raise ValueError(f"Neighbours: count is {count}, expected 1 to {2 * len(self.offsets)} neighbours")
        votes = self._votes(anatomy, count)
        return replace(self, weights=tuple(w * vote / 2 for w, vote in zip(self.weights, votes, strict=True)))

    def degree(self) -> float:
        """What the weights of a voxel's pairs sum to, averaged over voxels."""
        image = torch.empty(self.shape, device="meta")
        sums = [
            float(w.double().sum()) if isinstance(w, Tensor) else w * pair(image, offset)[0].numel()
            for offset, w in self
        ]
        return 2 * sum(sums) / image.numel()

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Weight]]:
        """(offset, weights) of every direction."""
        return zip(self.offsets, self.weights, strict=True)

    def _votes(self, anatomy: Tensor, count: int) -> list[Tensor]:
        """How many of the two voxels of a pair keep it, 0 to 2, for every offset."""
        steps = [step for offset in self.offsets for step in (offset, tuple(-k for k in offset))]
        padded = torch.nn.functional.pad(anatomy.float(), [1, 1] * anatomy.ndim, value=math.inf)
        there = [
            padded[tuple(slice(1 + k, 1 + k + n) for k, n in zip(step, self.shape, strict=True))] for step in steps
        ]
        kept = torch.zeros(len(steps), *self.shape, dtype=torch.uint8, device=anatomy.device)
        rows = max(1, _RANKED // max(1, len(steps) * anatomy[0].numel()))
        for begin in range(0, len(anatomy), rows):
            part = slice(begin, begin + rows)
            differences = torch.stack([(near[part] - anatomy[part]).abs() for near in there])
            kept[:, part].scatter_(0, differences.argsort(dim=0, stable=True)[:count], 1)
        # Steps alternate between an offset, kept by the first voxel of a pair, and its opposite, kept by the second.
        return [
            pair(ahead, offset)[0] + pair(back, offset)[1]
            for ahead, back, offset in zip(kept[::2], kept[1::2], self.offsets, strict=True)
        ]


def pair(image: Tensor, offset: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Views of the voxels (*batch, *image) that have a neighbour at this offset, and of those neighbours."""
    first, second = [], []
    for k in offset:
        first.append(slice(max(0, -k), -k if k > 0 else None))
        second.append(slice(max(0, k), k if k < 0 else None))
    return image[(..., *first)], image[(..., *second)]
