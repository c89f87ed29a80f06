"""The contract of every prior: a denoiser in EDM normal form.

A prior is asked one question: given `z = x0 + sigma n` in network units, what is E[x0 | z]? Tweedie's formula
`E[x0 | z] = z + sigma^2 grad log p_sigma(z)` makes that the score. Networks trained as VP, eps- or v-prediction are
wrapped to this form, so no sampler ever meets another convention.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from scoreinv.priors.intensity import IntensityMap


class Prior(ABC):
    """What is known of images before anything is measured.

    Attributes:
        ndim: spatial axes of one image, 2 or 3; those in front of them are batch.
        channels: channels of the network; an image of one channel has no channel axis.
        data_std: standard deviation of clean images, network units.
        sigma_min, sigma_max: noise levels the prior knows, network units.
        intensity: the map from network units to the image's.
        voxel_size: smallest and largest voxel size of the training images, mm; None if it does not matter.
        name: for messages.
    """

    ndim: int
    channels: int = 1
    data_std: float
    sigma_min: float = 0.0
    sigma_max: float = math.inf
    intensity: IntensityMap = IntensityMap()
    voxel_size: tuple[float, float] | None = None
    name: str = "prior"

    @abstractmethod
    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        """E[x0 | z], (*batch, *image) -> (*batch, *image), network units, on the device of z."""

    def linearise(self, z: Tensor, sigma: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The estimate and the product of its transposed Jacobian with a vector of its shape: (x0, v -> J^T v)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            x0 = self.denoise(z, sigma)
        if not x0.requires_grad:
            raise ValueError(
                f"{self}: its estimate has no gradient, which this guidance needs; use one that only denoises, such as "
                "DDS or DiffPIR"
            )

        def vjp(v: Tensor) -> Tensor:
            return torch.autograd.grad(x0, z, v, retain_graph=True)[0]

        return x0.detach(), vjp

    def at(self, step: int) -> Prior:
        """The prior to ask in step number `step` of a walk; itself, unless it alternates between several."""
        return self

    def of_slices(self, indices: Tensor) -> Prior:
        """The prior of these slices of a volume, (n,) in the order of their batch; itself, unless they differ."""
        return self

    def of_window(self, y: slice, x: slice) -> Prior:
        """The prior of this window of an image; itself, unless places differ."""
        return self

    def scaled(self, intensity: IntensityMap) -> Prior:
        """The prior with another map to image units, such as one whose scale was found in the data."""
        prior = copy.copy(self)
        prior.intensity = intensity
        return prior

    def slices(self, z: Tensor) -> tuple[Prior, Tensor]:
        """The prior underneath, whose network sees images, and the images (n, y, x) that it sees of one z (*image)."""
        raise ValueError(f"{self}: has no network to adapt; expected a NetworkPrior, or one lifted slice by slice")

    def adapted(self, weights: Mapping[str, Tensor]) -> Prior:
        """The prior with these weights of its network replaced, which the originals keep."""
        raise ValueError(f"{self}: has no network to adapt; expected a NetworkPrior, or one lifted slice by slice")

    def error(self, sigma: float) -> float:
        """How far x0 may still be from the truth, r = sigma tau / sqrt(sigma^2 + tau^2) with tau = data_std.

        Root mean square, network units; exact for a Gaussian of standard deviation tau, cautious for a network.
        """
        return sigma * self.data_std / math.hypot(sigma, self.data_std)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.ndim}D)"
