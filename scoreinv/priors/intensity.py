"""Where network units meet physical ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class IntensityMap:
    """x = scale * x_net + offset, between network units and the unit of the image.

    Attributes:
        scale, offset: in `unit`. CT networks see HU/1000, so with mu = mu_water (1 + HU/1000) both are mu_water.
        unit: of the image, compared with what the operator takes; None fits any operator.
    """

    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None

    @classmethod
    def attenuation(cls, mu_water: float = 0.02) -> IntensityMap:
        """From HU/1000 to linear attenuation in 1/mm, for a given attenuation of water in 1/mm."""
        return cls(mu_water, mu_water, "1/mm")

    def to_image(self, x_net: Tensor) -> Tensor:
        """Network units -> image units, any shape."""
        return self.scale * x_net + self.offset

    def to_network(self, x: Tensor) -> Tensor:
        """Image units -> network units, any shape."""
        return (x - self.offset) / self.scale
