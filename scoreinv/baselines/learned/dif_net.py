"""DIF-Net: attenuation at any point from what the point's shadows look like in every view."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from scoreinv.baselines.learned.layers import conv
from scoreinv.baselines.learned.network import LearnedNetwork
from scoreinv.baselines.learned.points import over_voxels, read_views, shadows
from scoreinv.baselines.learned.unet import UNet
from scoreinv.baselines.learned.units import ATTENUATION, LINE_INTEGRAL
from scoreinv.operators.cone_beam import ConeBeamCT


class DIFNet(LearnedNetwork):
    """A U-Net makes features of every view; a point reads them at its shadows, and a decoder answers for it.

    With pool="mean" the views are averaged, as PixelNeRF does.

    Args:
        width: channels of the U-Net's finest level.
        levels: of resolution.
        features: of a pixel.
        hidden: layers of the point decoder.
        pool: what is kept of the features of several views, the largest or the mean.

    Attributes:
        chunk: points at a time.

    Lin et al. 2023, Learning deep intensity field for extremely sparse-view CBCT reconstruction, MICCAI (DIF-Net);
    Yu, Ye, Tancik and Kanazawa 2021, pixelNeRF, CVPR.
    """

    kind = "dif_net"
    chunk = 65536

    def __init__(
        self,
        width: int = 64,
        levels: int = 5,
        features: int = 128,
        hidden: Sequence[int] = (256, 64, 16),
        pool: Literal["max", "mean"] = "max",
    ) -> None:
        super().__init__(width=width, levels=levels, features=features, hidden=list(hidden), pool=pool)
        self.pool = pool
        self.unet = UNet(1, features, width, levels)
        sizes = [features, *hidden]
        self.decoder = nn.Sequential(*(conv(1, n, size, kernel=1) for n, size in pairwise(sizes)))
        self.answer = nn.Conv1d(sizes[-1], 1, 1)

    def encode(self, projections: Tensor) -> Tensor:
        """(batch, views, v, u), network units -> (batch, views, features, v, u)."""
        maps = self.unet(projections.flatten(0, 1)[:, None])
        return torch.as_tensor(maps.unflatten(0, projections.shape[:2]))

    def at_points(self, maps: Tensor, places: Tensor, seen: Tensor | None = None) -> Tensor:
        """Attenuation of points in network units, (batch, points); arguments as `read_views`."""
        return torch.as_tensor(self.answer(self.decoder(read_views(maps, places, seen, self.pool)))[:, 0])

    def image(self, operator: ConeBeamCT, measurements: Tensor) -> Tensor:
        maps = self.encode(measurements.to(self.device)[None] / LINE_INTEGRAL)

        def at(points: Tensor) -> Tensor:
            return self.at_points(maps, shadows(operator.geometry, points).to(self.device)[None])[0]

        return over_voxels(operator.volume, self.chunk, at).clamp(0, 1) * ATTENUATION
