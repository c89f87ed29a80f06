"""A prior of small images as one of large images, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scoreinv.priors.base import Prior


class Tiled(Prior):
    """Overlapping tiles of an image denoised one after another and blended without seams.

    A tile knows nothing beyond its border, so that its outer `margin` pixels count for nothing, except at the image's
    own border; between there and `overlap` its weight rises evenly, and all weights at a pixel sum to one. For a linear
    shift-invariant denoiser with a kernel no wider than 2 margin + 1 the result is that of the whole image.

    Args:
        prior: of 2D images.
        tile: side of a tile, pixels; images no larger than it are denoised whole.
        overlap: of neighbouring tiles, pixels.
        margin: at a tile's border, pixels, whose estimate is left out.

    Raises:
        ValueError: if the prior is not 2D, or the tiles leave nothing between their borders.
    """

    ndim = 2

    def __init__(self, prior: Prior, tile: int = 128, overlap: int = 48, margin: int = 16) -> None:
        if prior.ndim != 2:
            raise ValueError(f"Tiled: expected a 2D prior, got {prior}")
        if not 0 <= 2 * margin < overlap <= tile // 2:
            raise ValueError(
                f"Tiled: tile {tile}, overlap {overlap} and margin {margin}; expected 2 margin < overlap <= tile / 2"
            )
        self.prior, self.tile, self.overlap, self.margin = prior, tile, overlap, margin
        self.channels, self.data_std = prior.channels, prior.data_std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max
        self.intensity, self.voxel_size, self.name = prior.intensity, prior.voxel_size, prior.name

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        return self._blend(lambda prior, weight, tile: weight * prior.denoise(tile, sigma), z)

    def linearise(self, z: Tensor, sigma: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        # One tile's graph at a time, at the price of a second forward pass.
        def vjp(v: Tensor) -> Tensor:
            def part(prior: Prior, weight: Tensor, tile: Tensor, v_tile: Tensor) -> Tensor:
                return prior.linearise(tile, sigma)[1](weight * v_tile)

            return self._blend(part, z, v)

        with torch.no_grad():
            return self.denoise(z, sigma), vjp

    def of_slices(self, indices: Tensor) -> Prior:
        part = self.prior.of_slices(indices)
        return self if part is self.prior else Tiled(part, self.tile, self.overlap, self.margin)

    def error(self, sigma: float) -> float:
        return self.prior.error(sigma)

    def _blend(self, function: Callable[..., Tensor], *images: Tensor) -> Tensor:
        """Sum of function(prior, weight, *tiles) over tiles of images of one shape, put back where each came from."""
        out = torch.zeros_like(images[0])
        rows, columns = (self._windows(n) for n in out.shape[-2:])
        for y, weight_y in rows:
            for x, weight_x in columns:
                weight = (weight_y[:, None] * weight_x).to(out.real)
                out[..., y, x] += function(self.prior.of_window(y, x), weight, *(image[..., y, x] for image in images))
        return out

    def _windows(self, n: int) -> list[tuple[slice, Tensor]]:
        """Tiles along an axis of n pixels and their weights, which sum to one everywhere."""
        if n <= self.tile:
            return [(slice(0, n), torch.ones(n))]
        stride = self.tile - self.overlap
        starts = [*range(0, n - self.tile, stride), n - self.tile]
        windows = []
        total = torch.zeros(n)
        for start in starts:
            position = torch.arange(self.tile) + 0.5
            rise = ((position - self.margin) / (self.overlap - 2 * self.margin)).clamp(0, 1)
            left = torch.ones(self.tile) if start == 0 else rise
            right = torch.ones(self.tile) if start + self.tile == n else rise.flip(0)
            weight = torch.minimum(left, right)
            windows.append((slice(start, start + self.tile), weight))
            total[start : start + self.tile] += weight
        return [(where, weight / total[where]) for where, weight in windows]
