"""DiCE: attenuation at any point from a few views, through features of the views and a quantised volume of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from scoreinv.baselines.deepsparse.codebook import Quantiser
from scoreinv.baselines.learned.layers import conv, residuals, widened
from scoreinv.baselines.learned.network import LearnedNetwork
from scoreinv.baselines.learned.points import cell_centers, over_voxels, read_views, read_volume, shadows, within
from scoreinv.baselines.learned.units import ATTENUATION, LINE_INTEGRAL
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.linear import LinearOperator

_MOST_VIEWS = 24  # that the volume of features is made of in training


class DiCE(LearnedNetwork):
    """The network of DeepSparse; the arguments' defaults are the published configuration.

    A 2D encoder makes features of every view at `scales` scales. Each point of a lattice in the volume reads them at
    its shadow and keeps the largest over the views; the volumes of features of all scales are quantised and decoded
    together, from coarse to fine. The attenuation of a point is decoded from this volume and from what the point
    itself reads in the views.

    Args:
        channels: of the finest scale; each coarser one has twice as many.
        scales: each half as fine as the one before.
        decoder: channels of the decoded volume.
        lattice: points along each axis of the volume of features.
        codes: of each scale's codebook.
        hidden: layers of the point decoder, between the first and the answer.
        denoise: whether the denoising layers are used; they are there in any case, and trained in the last step only.

    Attributes:
        chunk: points decoded at a time; 65536 need about 0.4 GB beside the features in the published configuration.

    DeepSparse: a foundation model for sparse-view CBCT reconstruction, IEEE TMI 2026, sections III.B (DiCE) and III.D
    (denoising layers).
    """

    kind = "deepsparse"
    chunk = 65536

    def __init__(
        self,
        channels: int = 16,
        scales: int = 4,
        decoder: int = 128,
        lattice: int = 32,
        codes: int = 512,
        hidden: Sequence[int] = (128, 64, 16),
        denoise: bool = True,
    ) -> None:
        super().__init__(
            channels=channels,
            scales=scales,
            decoder=decoder,
            lattice=lattice,
            codes=codes,
            hidden=list(hidden),
            denoise=denoise,
        )
        self.lattice = lattice
        widths = [channels * 2**scale for scale in range(scales)]
        self.stem = conv(2, 1, channels)
        self.encoder = nn.ModuleList(
            nn.Sequential(conv(2, fine, fine, kernel=2, stride=2), residuals(2, fine, coarse, 1))
            for fine, coarse in pairwise(widths)
        )
        # From here on, scales run from coarse to fine.
        coarse_first = widths[::-1]
        self.quantisers = nn.ModuleList(Quantiser(codes, width) for width in coarse_first)
        self.denoisers = nn.ModuleList(residuals(3, width, width, 2) for width in coarse_first)
        above = [0, *[decoder] * (scales - 1)]
        self.decoders = nn.ModuleList(
            residuals(3, width + more, decoder, 2) for width, more in zip(coarse_first, above, strict=True)
        )
        told = decoder + sum(widths)
        sizes = [told // 2, *hidden, 1]
        inputs = [told, *(size + told for size in sizes[:-1])]
        self.point_decoder = nn.ModuleList(conv(1, n, size, kernel=1) for n, size in zip(inputs, sizes, strict=True))
        self._frozen: tuple[nn.Module, ...] = ()

    @property
    def multiple(self) -> int:
        """Pixels of a detector are widened to a multiple of this, with zeros."""
        return 2 ** len(self.encoder)

    def freeze_encoder(self) -> None:
        """Fix encoder, codebooks and their convolutions for good: weights, moving averages and batch statistics."""
        self._frozen = (self.stem, self.encoder, self.quantisers)
        for module in self._frozen:
            module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def encode(self, projections: Tensor) -> list[Tensor]:
        """(batch, views, v, u), network units -> (batch, views, channels, v / s, u / s) for s = ..., 4, 2, 1."""
        maps = [self.stem(widened(projections.flatten(0, 1)[:, None], self.multiple))]
        for level in self.encoder:
            maps.append(level(maps[-1]))
        return [features.unflatten(0, projections.shape[:2]) for features in maps[::-1]]

    def lift(self, maps: Sequence[Tensor], places: Tensor, seen: Tensor | None = None) -> list[Tensor]:
        """Features of the lattice, (batch, channels, z, y, x) a scale; arguments as `read_views`."""
        cube = (self.lattice,) * 3
        return [read_views(features, places, seen).unflatten(-1, cube) for features in maps]

    def quantise(self, lifted: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Features of the lattice made of codes, and the commitment loss, mean over scales."""
        pairs = [quantiser(features) for quantiser, features in zip(self.quantisers, lifted, strict=True)]
        return [quantised for quantised, _ in pairs], torch.stack([loss for _, loss in pairs]).mean()

    def denoised(self, quantised: Sequence[Tensor]) -> list[Tensor]:
        """What the denoising layers make of the codes of few views."""
        return [layers(features) for layers, features in zip(self.denoisers, quantised, strict=True)]

    def decode(self, quantised: Sequence[Tensor]) -> Tensor:
        """The volume of features, (batch, decoder, z, y, x)."""
        out = self.decoders[0](quantised[0])
        for decoder, features in zip(self.decoders[1:], quantised[1:], strict=True):
            out = decoder(torch.cat([features, out], 1))
        return torch.as_tensor(out)

    def at_points(
        self, maps: Sequence[Tensor], volume: Tensor, fractions: Tensor, places: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        """Attenuation of points in network units, (batch, points).

        Args:
            maps: of `encode`.
            volume: of `decode`.
            fractions: (batch, points, 3), as `within`.
            places: (batch, views, points, 2), as `shadows`.
            seen: (batch, views), as `read_views`.
        """
        pixels = [read_views(features, places, seen) for features in reversed(maps)]
        told = torch.cat([*pixels, read_volume(volume, fractions)], 1)
        x = self.point_decoder[0](told)
        for layer in self.point_decoder[1:]:
            x = layer(torch.cat([x, told], 1))
        return torch.as_tensor(x[:, 0])

    def check(self, operator: LinearOperator) -> None:
        super().check(operator)
        if isinstance(operator, ConeBeamCT) and operator.geometry.views > _MOST_VIEWS:
            raise ValueError(
                f"deepsparse: {operator.geometry.views} views, expected at most {_MOST_VIEWS} as in training; take "
                "every n-th view, or use a classical baseline"
            )

    def image(self, operator: ConeBeamCT, measurements: Tensor) -> Tensor:
        """Views are encoded once; voxels are decoded at their exact middles, in chunks [section III.E]."""
        geometry, volume = operator.geometry, operator.volume
        lattice = shadows(geometry, cell_centers(volume, (self.lattice,) * 3), self.multiple)
        maps = self.encode(measurements.to(self.device)[None] / LINE_INTEGRAL)
        quantised, _ = self.quantise(self.lift(maps, lattice.to(self.device)[None]))
        features = self.decode(self.denoised(quantised) if self.configuration["denoise"] else quantised)

        def at(points: Tensor) -> Tensor:
            fractions, places = within(volume, points), shadows(geometry, points, self.multiple)
            return self.at_points(maps, features, fractions.to(self.device)[None], places.to(self.device)[None])[0]

        return over_voxels(volume, self.chunk, at).clamp(0, 1) * ATTENUATION
