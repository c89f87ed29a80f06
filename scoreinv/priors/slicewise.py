"""A prior of slices as a prior of volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from scoreinv.priors.base import Prior
from scoreinv.priors.intensity import IntensityMap


class SliceWise(Prior):
    """Every slice of a volume across `axis` denoised on its own by a 2D prior.

    Args:
        prior: of 2D images.
        axis: the spatial axis that counts slices: 0 for axial ones of a (z, y, x) volume.
        max_slices: how many go through the network at once. Bounds memory, for `linearise` too; changes no result.

    Raises:
        ValueError: if the prior is not 2D.
    """

    ndim = 3

    def __init__(self, prior: Prior, axis: int = 0, max_slices: int = 8) -> None:
        if prior.ndim != 2:
            raise ValueError(f"SliceWise: expected a 2D prior, got {prior}; a 3D one needs no lifting")
        if axis not in (0, 1, 2):
            raise ValueError(f"SliceWise: axis is {axis}, expected 0, 1 or 2 of (z, y, x)")
        if max_slices < 1:
            raise ValueError(f"SliceWise: max_slices is {max_slices}, expected at least 1")
        self.prior, self.axis, self.max_slices = prior, axis, max_slices
        self.channels = prior.channels
        self.data_std = prior.data_std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max
        self.intensity, self.voxel_size, self.name = prior.intensity, prior.voxel_size, prior.name

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        return self._by_chunks(lambda prior, chunk: prior.denoise(chunk, sigma), z)

    def linearise(self, z: Tensor, sigma: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        slices, numbers = self._flat(z), self._numbers(z)
        if len(slices) <= self.max_slices:
            x0, vjp = self.prior.of_slices(numbers).linearise(slices, sigma)
            return self._volume(x0, z), lambda v: self._volume(vjp(self._flat(v)), z)

        # The graph of a whole volume would not fit: the product linearises chunk by chunk, at the price of a second
        # forward pass, and never holds more than one chunk's activations.
        def chunk_vjp(prior: Prior, chunk: Tensor, v: Tensor) -> Tensor:
            return prior.linearise(chunk, sigma)[1](v)

        with torch.no_grad():
            return self.denoise(z, sigma), lambda v: self._by_chunks(chunk_vjp, z, v)

    def slices(self, z: Tensor) -> tuple[Prior, Tensor]:
        return self.prior.slices(z.movedim(self.axis, 0).flatten(0, -3))

    def adapted(self, weights: Mapping[str, Tensor]) -> Prior:
        return SliceWise(self.prior.adapted(weights), self.axis, self.max_slices)

    def scaled(self, intensity: IntensityMap) -> Prior:
        return SliceWise(self.prior.scaled(intensity), self.axis, self.max_slices)

    def error(self, sigma: float) -> float:
        return self.prior.error(sigma)

    def _by_chunks(self, function: Callable[..., Tensor], *volumes: Tensor) -> Tensor:
        """function(prior, *chunks) over chunks of slices (n, a, b) of volumes (*batch, z, y, x)."""
        flat, numbers = [self._flat(volume) for volume in volumes], self._numbers(volumes[0])
        out = torch.empty_like(flat[0], memory_format=torch.contiguous_format)
        for begin in range(0, len(out), self.max_slices):
            some = slice(begin, begin + self.max_slices)
            out[some] = function(self.prior.of_slices(numbers[some]), *(slices[some] for slices in flat))
        return self._volume(out, volumes[0])

    def _flat(self, volume: Tensor) -> Tensor:
        """All slices of (*batch, z, y, x), (n, a, b)."""
        return volume.movedim(self.axis - 3, -3).flatten(0, -3)

    def _volume(self, slices: Tensor, like: Tensor) -> Tensor:
        """Slices (n, a, b) put back to volumes of this shape."""
        return slices.reshape(like.movedim(self.axis - 3, -3).shape).movedim(-3, self.axis - 3)

    def _numbers(self, volume: Tensor) -> Tensor:
        """Where in its volume each slice is, (n,)."""
        depth = volume.shape[self.axis - 3]
        return torch.arange(volume.shape[:-3].numel() * depth) % depth
