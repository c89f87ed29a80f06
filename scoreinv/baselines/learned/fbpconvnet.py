"""FBPConvNet: a U-Net that takes the streaks out of an analytic reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.baselines.fdk import fdk
from scoreinv.baselines.learned.network import LearnedNetwork
from scoreinv.baselines.learned.unet import UNet
from scoreinv.baselines.learned.units import ATTENUATION
from scoreinv.operators.cone_beam import ConeBeamCT

_SLICES = 16  # at a time


class FBPConvNet(LearnedNetwork):
    """Axial slices of an FDK reconstruction plus what a U-Net finds wrong with them.

    Args:
        width: channels of the U-Net's finest level.
        levels: of resolution.

    Jin, McCann, Froustey and Unser 2017, Deep convolutional neural network for inverse problems in imaging, IEEE TIP
    26:4509.
    """

    kind = "fbpconvnet"

    def __init__(self, width: int = 64, levels: int = 5) -> None:
        super().__init__(width=width, levels=levels)
        self.unet = UNet(1, 1, width, levels)

    def forward(self, slices: Tensor) -> Tensor:
        """(batch, y, x) -> the same without streaks, network units."""
        return slices + self.unet(slices[:, None])[:, 0]

    def image(self, operator: ConeBeamCT, measurements: Tensor) -> Tensor:
        slices = (fdk(operator, measurements) / ATTENUATION).to(self.device)
        mended = torch.cat([self(some) for some in slices.split(_SLICES)])
        return mended.clamp(0, 1) * ATTENUATION
