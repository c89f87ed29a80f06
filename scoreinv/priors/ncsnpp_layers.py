"""Layers of the NCSN++ network (Song et al. 2021, "Score-based generative modeling through SDEs", appendix H).

Every layer has the parameters of its counterpart in the published code under a readable name;
`checkpoints.ncsnpp` holds the table of both names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_EPS = 1e-6


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of four channels, at most 32 groups."""
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=_EPS)


class Resample(nn.Module):
    """Images at half or twice the size, (batch, channels, y, x).

    Args:
        fir: through an anti-aliasing filter, with zeros around the image (StyleGAN2); else block means and copies.
        taps: of the filter along each axis; any scale.
    """

    kernel: Tensor

    def __init__(self, fir: bool, taps: Sequence[float]) -> None:
        super().__init__()
        self.fir = fir
        kernel = torch.outer(torch.tensor(taps, dtype=torch.float32), torch.tensor(taps, dtype=torch.float32))
        self.register_buffer("kernel", (kernel / kernel.sum())[None, None], persistent=False)

    def shrink(self, x: Tensor) -> Tensor:
        if not self.fir:
            return nn.functional.avg_pool2d(x, 2)
        return self.smooth(x, self.kernel.shape[-1] - 2, stride=2)

    def grow(self, x: Tensor) -> Tensor:
        if not self.fir:
            return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        taps, (y_size, x_size) = self.kernel.shape[-1], x.shape[-2:]
        # Of the pixels of the doubled image three in four start as zeros: hence the 4.
        x = nn.functional.conv_transpose2d(
            x, 4 * self._kernel(x), stride=2, padding=taps - 2 - (taps - 1) // 2, groups=x.shape[1]
        )
        return x[..., : 2 * y_size, : 2 * x_size]

    def smooth(self, x: Tensor, margin: int, stride: int = 1) -> Tensor:
        """Convolve after adding `margin` zeros in all along each axis, the odd one in front."""
        front, back = (margin + 1) // 2, margin // 2
        x = nn.functional.pad(x, (front, back, front, back))
        return nn.functional.conv2d(x, self._kernel(x).flip(-1, -2), stride=stride, groups=x.shape[1])

    def _kernel(self, x: Tensor) -> Tensor:
        """The same for every channel of x; per channel, as that is several times faster than one image a channel."""
        return self.kernel.expand(x.shape[1], 1, -1, -1)


class NoiseEmbedding(nn.Module):
    """What the network is told of the noise level: sigma (batch,) to features (batch, 4 width), already activated.

    Args:
        kind: "fourier": sines of log(sigma) at fixed random frequencies; "positional": sines of the level's number.
        width: features before the two linear layers (half as many frequencies again for "fourier").
        scale: standard deviation of the Fourier frequencies.
        sigmas: the noise levels of the training, descending; "positional" rounds sigma to the nearest of them.
    """

    frequencies: Tensor
    sigmas: Tensor

    def __init__(self, kind: str, width: int, scale: float, sigmas: Tensor) -> None:
        super().__init__()
        self.kind, self.width = kind, width
        if kind == "fourier":
            # A phase is 2 pi f log(sigma), with f in the tens, so these must be stored in single precision: rounding
            # them to half moved the answer of an untrained network by 3 %, all other weights together by 0.15 %.
            self.register_buffer("frequencies", scale * torch.randn(width))
        self.register_buffer("sigmas", sigmas.float(), persistent=False)
        self.linear1 = nn.Linear(2 * width if kind == "fourier" else width, 4 * width)
        self.linear2 = nn.Linear(4 * width, 4 * width)

    def forward(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and the sigma they stand for (batch,)."""
        if self.kind == "fourier":
            phase = sigma.log()[:, None] * self.frequencies * 2 * math.pi
        else:
            level = (sigma.log()[:, None] - self.sigmas.log()).abs().argmin(1)
            sigma = self.sigmas[level]
            half = self.width // 2
            phase = level[:, None] * torch.exp(-torch.arange(half, device=sigma.device) * math.log(1e4) / (half - 1))
        features = torch.cat([phase.sin(), phase.cos()], 1).to(self.linear1.weight.dtype)
        return nn.functional.silu(self.linear2(nn.functional.silu(self.linear1(features)))), sigma


class ResidualBlock(nn.Module):
    """The residual block of BigGAN, which may also halve or double the image.

    Args:
        channels: into and out of the block.
        embedding: channels of the noise features.
        resample: filter for `change`.
        change: "none", "shrink" or "grow".
        rescale: divide the sum of both branches by sqrt(2), which keeps the variance.
        dropout: probability, in training.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        embedding: int,
        resample: Resample,
        change: str = "none",
        rescale: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        before, after = channels
        self.resample, self.change = resample, change
        self.divisor = math.sqrt(2) if rescale else 1.0
        self.norm1 = group_norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.noise = nn.Linear(embedding, after)
        self.norm2 = group_norm(after)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.skip = None if before == after and change == "none" else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        h = nn.functional.silu(self.norm1(x))
        if self.change != "none":
            resize = self.resample.shrink if self.change == "shrink" else self.resample.grow
            h, x = resize(h), resize(x)
        h = self.conv1(h) + self.noise(features)[:, :, None, None]
        h = self.conv2(self.dropout(nn.functional.silu(self.norm2(h))))
        return ((x if self.skip is None else self.skip(x)) + h) / self.divisor


class Attention(nn.Module):
    """Self-attention of one head between all pixels; memory grows with the square of their number."""

    def __init__(self, channels: int, rescale: bool) -> None:
        super().__init__()
        self.divisor = math.sqrt(2) if rescale else 1.0
        self.norm = group_norm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).transpose(1, 2)[:, None]
        h = nn.functional.scaled_dot_product_attention(self.query(pixels), self.key(pixels), self.value(pixels))
        return (x + self.out(h)[:, 0].transpose(1, 2).reshape(x.shape)) / self.divisor


class ResidualPyramid(nn.Module):
    """progressive_input "residual": the image, halved by learned convolutions, joins the features as a residual."""

    def __init__(self, channels: tuple[int, int], resample: Resample, rescale: bool) -> None:
        super().__init__()
        self.resample = resample
        self.divisor = math.sqrt(2) if rescale else 1.0
        self.conv = nn.Conv2d(*channels, 3, stride=2)

    def forward(self, h: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        # Filter for the convolution's three taps as well, so that nothing is lost at the borders.
        r = self.resample
        image = self.conv(r.smooth(image, r.kernel.shape[-1]) if r.fir else nn.functional.pad(image, (0, 1, 0, 1)))
        h = (image + h) / self.divisor
        return h, h


class SkipPyramid(nn.Module):
    """progressive_input "input_skip": the image, halved, is added to the features through a 1x1 convolution."""

    def __init__(self, channels: tuple[int, int], resample: Resample) -> None:
        super().__init__()
        self.resample = resample
        self.conv = nn.Conv2d(*channels, 1)

    def forward(self, h: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        image = self.resample.shrink(image)
        return h + self.conv(image), image


class ToImage(nn.Module):
    """Features to image channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm = group_norm(before)
        self.conv = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(nn.functional.silu(self.norm(h)))
