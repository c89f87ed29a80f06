"""Vector quantisation of a feature volume, with codes that follow moving averages instead of gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_DECAY = 0.99
_EPSILON = 1e-5


class Codebook(nn.Module):
    """Replaces every vector by the nearest of `codes` learned ones.

    Codes are not trained but averaged, while the module trains: with n_k the vectors that chose code k in a batch,
    size_k <- 0.99 size_k + 0.01 n_k, sum_k <- 0.99 sum_k + 0.01 (sum of these vectors) and code_k = sum_k / size_k,
    sizes being smoothed so that none is 0. Gradients go straight through. Sizes begin at 1, the weight of the random
    codes in the sums: with 0, which the released code has, every code that the first batch leaves out is thrown far
    away and never chosen again.

    van den Oord et al. 2017, Neural discrete representation learning, appendix A.1.

    Args:
        codes: how many.
        channels: of a vector.
    """

    codes: Tensor
    sums: Tensor
    sizes: Tensor

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randn(codes, channels))
        self.register_buffer("sums", self.codes.clone())
        self.register_buffer("sizes", torch.ones(codes))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, *space) -> the same of codes, and the mean squared distance to them (commitment loss)."""
        vectors = features.movedim(1, -1).flatten(0, -2)
        nearest = self._nearest(vectors.detach())
        chosen = self.codes[nearest]
        if self.training:
            self._follow(vectors.detach(), nearest)
        loss = functional.mse_loss(vectors, chosen)
        straight = vectors + (chosen - vectors).detach()
        shape = (features.shape[0], *features.shape[2:], features.shape[1])
        return straight.reshape(shape).movedim(-1, 1), loss

    def _nearest(self, vectors: Tensor) -> Tensor:
        # |z|^2 is the same for all codes.
        return (self.codes.square().sum(1) - 2 * vectors @ self.codes.T).argmin(1)

    @torch.no_grad()
    def _follow(self, vectors: Tensor, nearest: Tensor) -> None:
        counts = torch.bincount(nearest, minlength=len(self.codes)).to(self.sizes.dtype)
        self.sizes.lerp_(counts, 1 - _DECAY)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, nearest, vectors), 1 - _DECAY)
        total = self.sizes.sum()
        smooth = (self.sizes + _EPSILON) / (total + len(self.sizes) * _EPSILON) * total
        self.codes.copy_(self.sums / smooth[:, None])


class Quantiser(nn.Module):
    """1x1x1 convolution, codebook, 1x1x1 convolution; (batch, channels, z, y, x) -> the same, and its loss."""

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.before = nn.Conv3d(channels, channels, 1)
        self.codebook = Codebook(codes, channels)
        self.after = nn.Conv3d(channels, channels, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        quantised, loss = self.codebook(self.before(features))
        return self.after(quantised), loss
