"""Density compensation: how much of k-space every sample stands for, (shots, samples) float32.

A sample of weight w stands for w cells of the Cartesian grid of the image, so that `A.adjoint(w * y)` approximates the
image where k-space is fully sampled, and Cartesian samples all have w = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scoreinv.operators.mri import NonCartesianMRI


def pipe_menon(trajectory: Tensor, image_shape: Sequence[int], iterations: int = 20) -> Tensor:
    """Weights of any trajectory by the fixed point w <- w / (C w) [Pipe and Menon 1999, MRM 41:179-186].

    C convolves k-space with a kernel whose transform covers twice the field of view. Here that is the triangle of
    offsets between voxels, whose kernel is the positive Fejer kernel, so that weights stay positive.

    Args:
        trajectory: (shots, samples, d), rad per voxel, as for `NonCartesianMRI`.
        image_shape: (*image).
        iterations: how often the fixed point is applied.

    Raises:
        ValueError: as `NonCartesianMRI` for the trajectory and shape.
    """
    A = NonCartesianMRI(trajectory, tuple(2 * int(n) for n in image_shape))
    triangle = torch.ones((), device=A.trajectory.device)
    for n in image_shape:
        triangle = triangle[..., None] * (1 - (torch.arange(2 * n, device=triangle.device) - n).abs() / n)
    triangle = triangle * 2 ** len(A.in_shape)  # A scales by the doubled grid's number of voxels, not the image's
    weights = torch.ones(A.out_shape, dtype=A.out_dtype, device=triangle.device)
    for _ in range(iterations):
        weights = weights / A.forward(triangle * A.adjoint(weights)).real
    return weights[0].real.clone()


def radial_density(trajectory: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Weights of evenly spread straight spokes through the middle of k-space, from the geometry alone.

    Every spoke stands for an equal sector of the disc or ball, and every sample for the part of it between the
    midpoints to its neighbours: a ramp |k|^(d - 1), with its finite value in the middle.

    Args:
        trajectory: (spokes, samples, d), rad per voxel, from -pi to pi, or from the middle outwards.
        image_shape: (*image).

    Raises:
        ValueError: if the samples do not lie in order on straight lines through the middle.
    """
    k = trajectory.double()
    d = k.shape[-1]
    if k.ndim != 3 or d != len(image_shape) or k.shape[1] < 2:
        raise ValueError(
            f"radial_density: trajectory has shape {tuple(k.shape)}, expected (spokes, samples, {len(image_shape)}) "
            "with at least 2 samples"
        )
    direction = torch.nn.functional.normalize(k[:, -1] - k[:, 0], dim=-1)
    place = (k * direction[:, None]).sum(-1)
    steps = place.diff(dim=1)
    if (k - place[..., None] * direction[:, None]).abs().max() > 1e-4 or steps.min() <= 0:
        raise ValueError(
            "radial_density: the samples do not lie in order on straight lines through the middle; use pipe_menon"
        )
    middles = (place[:, 1:] + place[:, :-1]) / 2
    edges = torch.cat([2 * place[:, :1] - middles[:, :1], middles, 2 * place[:, -1:] - middles[:, -1:]], 1)
    sides = 2 if place.min() < -1e-4 * place.max() else 1
    if sides == 1:  # from the middle outwards
        edges = edges.clamp(min=0)
    ball = {2: math.pi, 3: 4 / 3 * math.pi}[d] / (sides * len(k))
    cells = math.prod(image_shape) / (2 * math.pi) ** d
    return (cells * ball * (edges.sign() * edges.abs() ** d).diff(dim=1)).float()
