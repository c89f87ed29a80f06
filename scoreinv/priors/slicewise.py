"""A prior of slices as a prior of volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from scoreinv.priors.base import Prior


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

    def error(self, sigma: float) -> float:
        return self.prior.error(sigma)

    def _by_chunks(self, function: Callable[..., Tensor], *volumes: Tensor) -> Tensor:
        """function(prior, *chunks) over chunks of slices (n, a, b) of volumes (*batch, z, y, x)."""
        axis = self.axis - 3
        moved = [volume.movedim(axis, -3) for volume in volumes]
        slices = [volume.flatten(0, -3) for volume in moved]
        numbers = torch.arange(len(slices[0])) % moved[0].shape[-3]
        chunks = zip(numbers.split(self.max_slices), *(s.split(self.max_slices) for s in slices), strict=True)
        out = torch.cat([function(self.prior.of_slices(n), *chunk) for n, *chunk in chunks])
        return out.reshape(moved[0].shape).movedim(-3, axis)
