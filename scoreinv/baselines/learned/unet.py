"""The U-Net that learned baselines share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from scoreinv.baselines.learned.layers import conv, widened


class UNet(nn.Module):
    """Images (batch, channels, y, x) -> (batch, out, y, x), of any size.

    Each level has two 3x3 convolutions; on the way down images are halved by the largest of 2x2, on the way up doubled
    by a transposed convolution and joined with what was there before.

    Args:
        channels, out: of the image and of the answer.
        width: channels of the finest level; each coarser one has twice as many.
        levels: of resolution, at least one.

    Ronneberger, Fischer and Brox 2015, MICCAI, figure 1; with borders, and batch normalisation.
    """

    def __init__(self, channels: int, out: int, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(_twice(n, wide) for n, wide in pairwise([channels, *widths]))
        coarse_first = widths[::-1]
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(wide, n, 2, 2) for wide, n in pairwise(coarse_first))
        self.up = nn.ModuleList(_twice(wide, n) for wide, n in pairwise(coarse_first))
        self.answer = nn.Conv2d(width, out, 1)
        # With channels last in memory, convolutions are a third faster on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch annotates it without

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = images.shape[-2:]
        x = widened(images, 2 ** len(self.up))
        passed = []
        for level, layers in enumerate(self.down):
            x = layers(nn.functional.max_pool2d(x, 2) if level else x)
            passed.append(x)
        for upsample, layers, finer in zip(self.upsample, self.up, passed[-2::-1], strict=True):
            x = layers(torch.cat([finer, upsample(x)], 1))
        answer: Tensor = self.answer(x)[..., :rows, :columns]
        return answer


def _twice(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(conv(2, channels, out), conv(2, out, out))
