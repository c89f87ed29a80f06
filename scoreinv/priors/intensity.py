"""Where network units meet physical ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class IntensityMap:
    """x = scale * x_net + offset, between network units and the unit of the image.

    Attributes:
        scale, offset: in `unit`. CT networks see HU/1000, so with mu = mu_water (1 + HU/1000) both are mu_water.
        unit: of the image, compared with what the operator takes; None fits any operator.
        percentile: of the image's magnitudes that lies at 1 in network units, where data have a scale of their own
            (MR); `solve` finds the scale in a first reconstruction. None where the scale is fixed.
    """

    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    percentile: float | None = None

    @classmethod
    def attenuation(cls, mu_water: float = 0.02) -> IntensityMap:
        """From HU/1000 to linear attenuation in 1/mm, for a given attenuation of water in 1/mm."""
        return cls(mu_water, mu_water, "1/mm")

    def fitted(self, image: Tensor) -> IntensityMap:
        """This map with its scale found in an image of any shape, such as a first reconstruction.

        Raises:
            ValueError: if the percentile of its magnitudes is not above 0.
        """
        if self.percentile is None:
            return self
        scale = float(np.percentile(image.detach().abs().cpu().numpy(), self.percentile))
        if not scale > 0:
            raise ValueError(
                f"IntensityMap: the {self.percentile:g}th percentile of the image's magnitudes is {scale:g}, expected "
                "more than 0 to find its scale; is there an image in the data?"
            )
        return replace(self, scale=scale)

    def to_image(self, x_net: Tensor) -> Tensor:
        """Network units -> image units, any shape."""
        return self.scale * x_net + self.offset

    def to_network(self, x: Tensor) -> Tensor:
        """Image units -> network units, any shape."""
        return (x - self.offset) / self.scale
