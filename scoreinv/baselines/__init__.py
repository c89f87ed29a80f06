"""Classical and learned reconstructions to compare with."""

from scoreinv.baselines.cgls import cgls
from scoreinv.baselines.fdk import fdk
from scoreinv.baselines.osem import osem
from scoreinv.baselines.sart import sart
from scoreinv.baselines.tv import tv

__all__ = ["cgls", "fdk", "osem", "sart", "tv"]
