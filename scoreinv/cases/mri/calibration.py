"""Coil maps from the k-space that is to be reconstructed."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.config.mri import Coils
from scoreinv.io import KSpace
from scoreinv.operators import CartesianMRI, NonCartesianMRI, espirit, pipe_menon, walsh


def coil_maps(k: KSpace, coils: Coils) -> Tensor:
    """By the method asked for, (coils, *image)."""
    middle = _gridded(k)
    if coils.maps == "espirit":
        return espirit(middle, calibration=coils.calibration)
    return walsh(_low_resolution(middle, coils.calibration))


def _gridded(k: KSpace) -> Tensor:
    """Cartesian k-space (coils, *image) whose middle is fully sampled."""
    if k.calibration is not None:
        return k.calibration
    if k.trajectory is None:
        return k.data
    single = NonCartesianMRI(k.trajectory, k.image_shape)
    weights = pipe_menon(k.trajectory, k.image_shape)
    images = single.adjoint((weights * k.data)[:, None])
    return CartesianMRI(torch.ones(k.image_shape)).forward(images)[:, 0]


def _low_resolution(k_space: Tensor, side: int) -> Tensor:
    """Coil images of the middle of k-space, apodised."""
    window = torch.ones(())
    for n in k_space.shape[1:]:
        distance = (torch.arange(n) - n // 2).abs() / (side / 2)
        window = window[..., None] * torch.where(distance < 1, torch.cos(torch.pi / 2 * distance) ** 2, 0.0)
    return CartesianMRI(torch.ones(k_space.shape[1:])).adjoint((window * k_space)[:, None])
