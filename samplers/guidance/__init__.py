"""How measurements pull the estimate: one method a file."""

from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.dds import DDS
from scoreinv.samplers.guidance.dps import DPS

__all__ = ["DDS", "DPS", "Guidance"]
