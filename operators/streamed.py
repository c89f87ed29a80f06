"""Line integrals of volumes larger than a GPU: data stay on the CPU and pass through the GPU piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce

from torch import Tensor

from scoreinv.operators._ferry import Ferry
from scoreinv.operators._threads import pieces
from scoreinv.operators.geometry import Volume
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import Map

GPU = "cuda"
PIECE = 1 << 26  # numbers of a slab, and of the data of a subset of views: 256 MiB each


class StreamedTransform(LinearOperator):
    """Line integrals between tensors on the CPU, taken on a GPU.

    The image is cut into slabs along z, the measurements into subsets of views. Outside its grid an image is zero, so
    that the integrals of the slabs add up to those of the image: the data of a subset are summed over all slabs, and in
    the adjoint a slab over all subsets. Pieces cross while the GPU computes (`Ferry`). It holds a few of them at once,
    whatever the sizes of image, measurements and batch: two that are read, two sums, what is added to one, and what the
    parts need.

    Image (z, y, x) float32; integrals `out_shape` float32, both on the CPU.

    Args:
        part: makes the transform of a slab along views i, i + n, i + 2n, ..., from (slab, i, n).
        volume: the grid of the whole image.
        out_shape: of the measurements of all views.
        view_axis: that of the views among the measurements.
        piece: most numbers of a slab and of a subset, one plane and one view at least.
    """

    volume: Volume

    def __init__(
        self,
        part: Callable[[Volume, int, int], LinearOperator],
        volume: Volume,
        out_shape: tuple[int, ...],
        view_axis: int = 0,
        piece: int = PIECE,
    ) -> None:
        super().__init__(volume.shape, out_shape, device="cpu")
        self.volume, self.view_axis = volume, view_axis
        self._slabs = pieces(volume.shape[0], _number(volume.shape, 0, piece))
        self._subsets = _number(out_shape, view_axis, piece)
        self._make = part
        self._parts: dict[tuple[int, int, int], LinearOperator] = {}

    def _apply(self, x: Tensor) -> Tensor:
        images = x.detach().reshape(-1, *self.in_shape)
        data = images.new_empty(len(images), *self.out_shape)
        with Ferry(GPU) as ferry:
            for image, whole in zip(images, data, strict=True):
                slabs = [image[begin:end] for begin, end in self._slabs]
                for i in range(self._subsets):
                    parts = (self._part(*slab, i).forward for slab in self._slabs)
                    _add_up(ferry, slabs, parts, self._views(whole, i))
        return data.reshape(*x.shape[: x.ndim - 3], *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        batch = tuple(y.shape[: y.ndim - len(self.out_shape)])
        data = y.detach().reshape(-1, *self.out_shape)
        images = data.new_empty(len(data), *self.in_shape)
        with Ferry(GPU) as ferry:
            for image, whole in zip(images, data, strict=True):
                views = [self._views(whole, i) for i in range(self._subsets)]
                for begin, end in self._slabs:
                    parts = (self._part(begin, end, i).adjoint for i in range(self._subsets))
                    _add_up(ferry, views, parts, image[begin:end])
        return images.reshape(*batch, *self.in_shape)

    def _part(self, begin: int, end: int, i: int) -> LinearOperator:
        """Of one slab and one subset, made once."""
        key = begin, end, i
        if key not in self._parts:
            self._parts[key] = self._make(_slab(self.volume, begin, end), i, self._subsets)
        return self._parts[key]

    def _views(self, data: Tensor, i: int) -> Tensor:
        """Those of one subset, a view of the data."""
        return data[(slice(None),) * self.view_axis + (slice(i, None, self._subsets),)]


def _add_up(ferry: Ferry, pieces: Iterable[Tensor], maps: Iterable[Map], into: Tensor) -> None:
    """Write the sum over the pieces of a map of each, which the GPU makes."""
    results = (part(piece) for piece, part in zip(ferry.there(pieces), maps, strict=True))
    ferry.back(reduce(Tensor.add_, results), into)


def _number(shape: tuple[int, ...], axis: int, piece: int) -> int:
    """Of parts along an axis, each of at most so many numbers but no less than one index."""
    length = shape[axis]
    return math.ceil(length / max(1, piece * length // math.prod(shape)))


def _slab(volume: Volume, begin: int, end: int) -> Volume:
    """The planes [begin, end) of a grid."""
    z, y, x = volume.center
    middle = z + ((begin + end) / 2 - volume.shape[0] / 2) * volume.voxel_size[0]
    return replace(volume, shape=(end - begin, *volume.shape[1:]), center=(middle, y, x))
