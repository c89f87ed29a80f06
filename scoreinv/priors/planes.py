"""A volume seen along more than one axis by priors of slices."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from scoreinv.priors.base import Prior
from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.slicewise import SliceWise

MODES = ("alternate", "random", "average")


class PerpendicularPlanes(Prior):
    """Lee et al. 2023 (ICCV, TPDM): slices of a volume denoised along its first axis, and every so often along others.

    A prior of slices says nothing of neighbours; one of perpendicular slices does. With "alternate" every K-th step of
    a walk belongs to the other orientations in turn, with "random" each step does with probability 1/K, and "average"
    takes the mean of all orientations' estimates at every step.

    Args:
        priors: a 2D prior for all axes, or one for each axis.
        axes: spatial axes that count slices, the primary one first: 0 for axial, 1 coronal, 2 sagittal.
        every: K.
        mode: "alternate", "random" or "average".
        voxel_size: (z, y, x) mm of the volume, to make sure that the slices across every axis are such as the priors
            were trained on; None to trust that they are.
        max_slices: through the network at once.
        seed: of the random choice, a function of the step alone.

    Raises:
        ValueError: if the slices across an axis have pixels outside the range of its prior, or are not square.
    """

    ndim = 3

    def __init__(
        self,
        priors: Prior | Mapping[int, Prior],
        axes: tuple[int, ...] = (0, 1),
        every: int = 2,
        mode: str = "alternate",
        voxel_size: tuple[float, float, float] | None = None,
        max_slices: int = 8,
        seed: int = 0,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"PerpendicularPlanes: mode is {mode!r}, expected one of {MODES}")
        if len(set(axes)) < 2 or len(set(axes)) != len(axes):
            raise ValueError(f"PerpendicularPlanes: axes are {axes}, expected two or three different ones of 0, 1, 2")
        if every < 2:
            raise ValueError(
                f"PerpendicularPlanes: every is {every}, expected at least 2, or the first axis has no step"
            )
        by_axis = {axis: priors[axis] if isinstance(priors, Mapping) else priors for axis in axes}
        first = by_axis[axes[0]]
        for axis, prior in by_axis.items():
            seen, expected = (prior.intensity, prior.channels), (first.intensity, first.channels)
            if seen != expected:
                raise ValueError(
                    f"PerpendicularPlanes: intensity and channels of the prior of axis {axis} are {seen}, of axis "
                    f"{axes[0]} {expected}; expected the same, for all see one volume"
                )
        if voxel_size is not None:
            for axis, prior in by_axis.items():
                _check_pixels(prior, axis, voxel_size)
        self.planes = [SliceWise(prior, axis, max_slices) for axis, prior in by_axis.items()]
        self.every, self.mode, self.seed = every, mode, seed
        primary = self.planes[0]
        self.channels, self.data_std = primary.channels, primary.data_std
        self.sigma_min = max(plane.sigma_min for plane in self.planes)
        self.sigma_max = min(plane.sigma_max for plane in self.planes)
        self.intensity, self.voxel_size, self.name = primary.intensity, primary.voxel_size, primary.name

    def at(self, step: int) -> Prior:
        if self.mode == "average":
            return self
        if self.mode == "alternate":
            other = (step + 1) // self.every if (step + 1) % self.every == 0 else 0
        else:
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(step,)))
            other = int(rng.integers(1, len(self.planes))) if rng.random() < 1 / self.every else 0
        return self.planes[1 + (other - 1) % (len(self.planes) - 1)] if other else self.planes[0]

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        """The mean of all orientations' estimates; a walk asks `at(step)`, which is one of them in the other modes."""
        return torch.stack([plane.denoise(z, sigma) for plane in self.planes]).mean(0)

    def linearise(self, z: Tensor, sigma: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        x0, vjps = zip(*(plane.linearise(z, sigma) for plane in self.planes), strict=True)
        return torch.stack(x0).mean(0), lambda v: torch.stack([vjp(v) for vjp in vjps]).mean(0)

    def scaled(self, intensity: IntensityMap) -> Prior:
        prior = copy.copy(self)
        prior.planes = [SliceWise(plane.prior.scaled(intensity), plane.axis, plane.max_slices) for plane in self.planes]
        prior.intensity = intensity
        return prior

    def error(self, sigma: float) -> float:
        return self.planes[0].error(sigma)


def _check_pixels(prior: Prior, axis: int, voxel_size: tuple[float, float, float]) -> None:
    pixel = [size for k, size in enumerate(voxel_size) if k != axis]
    low, high = prior.voxel_size or (0.0, math.inf)
    if min(pixel) < 0.75 * low or max(pixel) > 1.33 * high or max(pixel) > 1.33 * min(pixel):
        raise ValueError(
            f"PerpendicularPlanes: slices across axis {axis} have pixels of {pixel[0]:g} x {pixel[1]:g} mm, expected "
            f"square ones of {low:g} to {high:g} mm, which {prior} was trained on; reconstruct on such a grid or leave "
            "this axis out"
        )
