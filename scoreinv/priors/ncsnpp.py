"""NCSN++, the network of the variance-exploding checkpoints.

Song et al. 2021 ("Score-based generative modeling through SDEs", appendix H) as configured by score-MRI,
DiffusionMBIR, MCG and TPDM: a U-Net whose encoder also sees the image itself at every size, whose resampling is
filtered, and which answers the score: with `scale_by_sigma` the output of the last layer is divided by sigma, so that
`x0 = z + sigma^2 network(z, sigma)`.

Two decisions. The network is told sigma, whatever the embedding; and attention sits at fixed levels, those that have a
size in `attn_resolutions` when the image has side `image_size`, so that images of other sizes run through the same
layers. (The published 256 and 320 configurations name a size of 16, which their four levels never reach: they attend
in the middle only.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv.priors.ncsnpp_layers import (
    Attention,
    NoiseEmbedding,
    Resample,
    ResidualBlock,
    ResidualPyramid,
    SkipPyramid,
    ToImage,
)

# What the published configurations use; each other value needs layers that are not here.
_CHOICES: dict[str, tuple[Any, ...]] = {
    "resblock_type": ("biggan",),
    "progressive": ("none", "output_skip"),
    "progressive_input": ("none", "residual", "input_skip"),
    "progressive_combine": ("sum",),
    "embedding_type": ("fourier", "positional"),
    "nonlinearity": ("swish",),
    "normalization": ("GroupNorm",),
    "conditional": (True,),
    "resamp_with_conv": (True,),
}


class NCSNpp(nn.Module):
    """Score network, (batch, num_channels, y, x) and sigma (batch,) to (batch, num_channels, y, x).

    The arguments are those of the published configurations, under their names, and may all be written as JSON; the
    defaults are the configuration that the four repositories share (61.4 million parameters). Image sides must be
    divisible by `multiple`, but need be neither equal nor `image_size`.

    Args:
        image_size: side of the training images, pixels; says at which levels attention sits.
        num_channels: of the image.
        nf: channels at full size.
        ch_mult: channels of each level, times nf; each level has half the size of the one before.
        num_res_blocks: residual blocks a level.
        attn_resolutions: image sizes with attention, pixels.
        dropout: probability, in training.
        fir, fir_kernel: resample through a filter with these taps; else by block means and copies.
        skip_rescale: divide sums of two branches by sqrt(2).
        progressive: "output_skip" adds up images from all levels; "none" makes the image at full size.
        progressive_input: how the image enters at lower levels, "residual", "input_skip" or "none".
        embedding_type: "fourier", or "positional" for networks trained at `num_scales` fixed levels.
        fourier_scale: standard deviation of the Fourier frequencies (a checkpoint brings its own).
        scale_by_sigma: divide the output by sigma.
        centered: images are in [-1, 1]; else they are in [0, 1] and the network stretches them itself.
        sigma_min, sigma_max, num_scales: noise levels of the training, geometric, units of the images.
        resblock_type, progressive_combine, nonlinearity, normalization, conditional, resamp_with_conv: accepted with
            the published value only, so that a published configuration can be handed over whole.

    Raises:
        ValueError: for a value that is not supported, or (when called) for shapes that do not fit.
    """

    def __init__(
        self,
        *,
        image_size: int = 256,
        num_channels: int = 1,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.0,
        fir: bool = True,
        fir_kernel: Sequence[float] = (1, 3, 3, 1),
        skip_rescale: bool = True,
        progressive: str = "none",
        progressive_input: str = "residual",
        embedding_type: str = "fourier",
        fourier_scale: float = 16.0,
        scale_by_sigma: bool = True,
        centered: bool = False,
        sigma_min: float = 0.01,
        sigma_max: float = 378.0,
        num_scales: int = 2000,
        resblock_type: str = "biggan",
        progressive_combine: str = "sum",
        nonlinearity: str = "swish",
        normalization: str = "GroupNorm",
        conditional: bool = True,
        resamp_with_conv: bool = True,
    ) -> None:
        super().__init__()
        given = locals()
        for name, choices in _CHOICES.items():
            if given[name] not in choices:
                expected = " or ".join(repr(choice) for choice in choices)
                raise ValueError(f"NCSNpp: {name} is {given[name]!r}, expected {expected}; other networks are not read")
        self.num_channels, self.centered, self.scale_by_sigma = num_channels, centered, scale_by_sigma
        self.multiple = 2 ** (len(ch_mult) - 1)
        resample = Resample(fir, fir_kernel)
        width = [nf * m for m in ch_mult]
        attends = [image_size // 2**level in attn_resolutions for level in range(len(width))]

        def block(before: int, after: int, change: str = "none") -> ResidualBlock:
            return ResidualBlock((before, after), 4 * nf, resample, change, skip_rescale, dropout)

        def attention(level: int) -> nn.Module:
            return Attention(width[level], skip_rescale) if attends[level] else nn.Identity()

        sigmas = torch.linspace(0, 1, num_scales, dtype=torch.float64)
        self.noise = NoiseEmbedding(embedding_type, nf, fourier_scale, sigma_max * (sigma_min / sigma_max) ** sigmas)
        self.conv_in = nn.Conv2d(num_channels, nf, 3, padding=1)

        self.down = nn.ModuleList()
        skips, channels, image_channels = [nf], nf, num_channels
        for level, after in enumerate(width):
            stage = _DownStage()
            for _ in range(num_res_blocks):
                stage.blocks.append(block(channels, after))
                stage.attentions.append(attention(level))
                channels = after
                skips.append(channels)
            if level < len(width) - 1:
                stage.shrink = block(channels, channels, "shrink")
                if progressive_input == "residual":
                    stage.pyramid = ResidualPyramid((image_channels, channels), resample, skip_rescale)
                    image_channels = channels
                elif progressive_input == "input_skip":
                    stage.pyramid = SkipPyramid((image_channels, channels), resample)
                skips.append(channels)
            self.down.append(stage)

        self.middle = nn.ModuleList(
            [block(channels, channels), Attention(channels, skip_rescale), block(channels, channels)]
        )

        self.up = nn.ModuleList()
        for level in reversed(range(len(width))):
            stage_up = _UpStage(attention(level), resample)
            for _ in range(num_res_blocks + 1):
                stage_up.blocks.append(block(channels + skips.pop(), width[level]))
                channels = width[level]
            if progressive == "output_skip" or level == 0:
                stage_up.image = ToImage(channels, num_channels)
            if level > 0:
                stage_up.grow = block(channels, channels, "grow")
            self.up.append(stage_up)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        self._check(x, sigma)
        features, sigma = self.noise(sigma)
        if not self.centered:
            x = 2 * x - 1
        h, image = self.conv_in(x), x
        skips = [h]
        for stage in self.down:
            h, image = stage(h, image, features, skips)
        before, attention, after = self.middle
        h = after(attention(before(h, features)), features)
        answer = None
        for stage in self.up:
            h, answer = stage(h, answer, features, skips)
        assert answer is not None
        return answer / sigma[:, None, None, None] if self.scale_by_sigma else answer

    def _check(self, x: Tensor, sigma: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.num_channels or any(side % self.multiple for side in x.shape[2:]):
            raise ValueError(
                f"NCSNpp: images have shape {tuple(x.shape)}, expected (batch, {self.num_channels}, y, x) with y and x "
                f"divisible by {self.multiple}; pad them"
            )
        if sigma.shape != (len(x),):
            raise ValueError(f"NCSNpp: sigma has shape {tuple(sigma.shape)}, expected one a batch entry, ({len(x)},)")


class _DownStage(nn.Module):
    """One level of the encoder; what goes across to the decoder is put on `skips`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.attentions = nn.ModuleList(), nn.ModuleList()
        self.shrink: ResidualBlock | None = None
        self.pyramid: ResidualPyramid | SkipPyramid | None = None

    def forward(self, h: Tensor, image: Tensor, features: Tensor, skips: list[Tensor]) -> tuple[Tensor, Tensor]:
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = attention(block(h, features))
            skips.append(h)
        if self.shrink is not None:
            h = self.shrink(h, features)
            if self.pyramid is not None:
                h, image = self.pyramid(h, image)
            skips.append(h)
        return h, image


class _UpStage(nn.Module):
    """One level of the decoder; `answer` is the image so far, at half this level's size."""

    def __init__(self, attention: nn.Module, resample: Resample) -> None:
        super().__init__()
        self.blocks, self.attention, self.resample = nn.ModuleList(), attention, resample
        self.image: ToImage | None = None
        self.grow: ResidualBlock | None = None

    def forward(
        self, h: Tensor, answer: Tensor | None, features: Tensor, skips: list[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        for block in self.blocks:
            h = block(torch.cat([h, skips.pop()], 1), features)
        h = self.attention(h)
        if self.image is not None:
            part = self.image(h)
            answer = part if answer is None else self.resample.grow(answer) + part
        if self.grow is not None:
            h = self.grow(h, features)
        return h, answer
