"""Where network units meet physical ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class IntensityMap:
    """x = scale * x_net + offset, between network units and the unit of the image.

    Where data have a scale of their own, `solve` finds it in a first reconstruction: 1 in network units is a percentile
    of its magnitudes (MR), or the mean of the voxels above a threshold (PET). Singh et al. (2024) put that threshold at
    1 % of the maximum. Here it is a share of the mean: a single hot bladder or noisy voxel sets a maximum, but hardly
    moves the mean of a volume, and with it the border between patient and air.

    Attributes:
        scale, offset: in `unit`. CT networks see HU/1000, so with mu = mu_water (1 + HU/1000) both are mu_water.
        unit: of the image, compared with what the operator takes; None fits any operator.
        percentile: of the image's magnitudes that lies at 1 in network units; None for another rule.
        threshold: share of the mean magnitude above which voxels count; their mean lies at 1. None for another rule.

    Raises:
        ValueError: if both percentile and threshold are given.
    """

    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    percentile: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if None not in (self.percentile, self.threshold):
            raise ValueError(
                f"IntensityMap: percentile is {self.percentile} and threshold {self.threshold}, expected one rule for "
                "the scale; leave one out"
            )

    @property
    def fixed(self) -> bool:
        """Whether the scale is known before there are data."""
        return self.percentile is None and self.threshold is None

    @classmethod
    def attenuation(cls, mu_water: float = 0.02) -> IntensityMap:
        """From HU/1000 to linear attenuation in 1/mm, for a given attenuation of water in 1/mm."""
        return cls(mu_water, mu_water, "1/mm")

    def fitted(self, image: Tensor) -> IntensityMap:
        """This map with its scale found in an image of any shape, such as a first reconstruction.

        Raises:
            ValueError: if that scale is not above 0.
        """
        magnitude = image.detach().abs()
        if self.percentile is not None:
            scale = float(np.percentile(magnitude.cpu().numpy(), self.percentile))
            rule = f"{self.percentile:g}th percentile"
        elif self.threshold is not None:
            inside = magnitude[magnitude > self.threshold * magnitude.mean(dtype=torch.float64)]
            scale = float(inside.mean(dtype=torch.float64)) if len(inside) else 0.0
            rule = "mean"
        else:
            return self
        if not scale > 0:
            raise ValueError(
                f"IntensityMap: the {rule} of the image's magnitudes is {scale:g}, expected more than 0 to find its "
                "scale; is there an image in the data?"
            )
        return replace(self, scale=scale)

    def to_image(self, x_net: Tensor) -> Tensor:
        """Network units -> image units, any shape."""
        return self.scale * x_net + self.offset

    def to_network(self, x: Tensor) -> Tensor:
        """Image units -> network units, any shape."""
        return (x - self.offset) / self.scale
