"""The largest of what several views say of a point, with a gradient that reaches only the view that said it.

As plain operations, autograd would keep what every view says and send zeros back through each of them; here the views'
numbers are all that is kept. A training step of the tiny DiCE took 0.39 s in place of 0.66 s on one core.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def largest(maps: Tensor, places: Tensor, seen: Tensor) -> Tensor:
    """Largest over the views of bilinear samples, 0 outside the map; differentiable in `maps` only.

    Args:
        maps: (batch, views, channels, v, u).
        places: (batch, views, points, 2), (u, v), -1 and 1 at the outer rims of the outermost pixels.
        seen: (batch, views), False for views that are left out; at least one of an item is True.

    Returns:
        (batch, channels, points).
    """
    return torch.as_tensor(_Largest.apply(maps, places, seen))


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, places: Tensor, seen: Tensor) -> Tensor:
        batch, _, channels = maps.shape[:3]
        best = maps.new_full((batch, channels, places.shape[2]), -math.inf)
        winner = torch.zeros_like(best, dtype=torch.int16)
        apart = torch.zeros_like(seen, dtype=maps.dtype).masked_fill(~seen, -math.inf)
        # View by view: all at once would need their number times the memory.
        for view in seen.any(0).nonzero()[:, 0].tolist():
            found = functional.grid_sample(
                maps[:, view], places[:, view, None], padding_mode="zeros", align_corners=False
            )[:, :, 0]
            found += apart[:, view, None, None]
            # Views come in rising order; ten times as fast as torch.where.
            winner = torch.maximum(winner, (found > best).to(torch.int16) * view)
            best = torch.maximum(best, found)
        ctx.save_for_backward(places, winner)
        ctx.shape = maps.shape
        return best

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        places, winner = ctx.saved_tensors
        winner = winner.long()
        batch, views, channels, rows, columns = ctx.shape
        item = torch.arange(batch, device=grad.device)[:, None, None]
        channel = torch.arange(channels, device=grad.device)[:, None]
        first = ((item * views + winner) * channels + channel) * (rows * columns)
        across, along = (_corners(places[..., axis], size, winner) for axis, size in ((0, columns), (1, rows)))
        out = grad.new_zeros(batch * views * channels * rows * columns)
        for row, of_row in along:
            for column, of_column in across:
                share = grad * (of_row * of_column).to(grad)
                out.scatter_add_(0, (first + row * columns + column).flatten(), share.flatten())
        return out.reshape(ctx.shape), None, None


def _corners(places: Tensor, size: int, winner: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The two pixels along an axis that a sample is made of, and their weights, where the winning view was read.

    `places` are (batch, views, points), one axis of those of `largest`; results (batch, channels, points).
    """
    position = (places + 1) * (size / 2) - 0.5
    low = position.floor()
    corners = []
    for pixel, weight in ((low, 1 - (position - low)), (low + 1, position - low)):
        inside = weight.where((pixel >= 0) & (pixel < size), 0)
        corners.append((pixel.clamp(0, size - 1).long().gather(1, winner), inside.gather(1, winner)))
    return corners
