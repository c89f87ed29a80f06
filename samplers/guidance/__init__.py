"""How measurements pull the estimate: one method a file."""

from scoreinv.samplers.guidance.adapt import LoRA
from scoreinv.samplers.guidance.base import Guidance
from scoreinv.samplers.guidance.daps import DAPS
from scoreinv.samplers.guidance.dds import DDS
from scoreinv.samplers.guidance.diffpir import DiffPIR
from scoreinv.samplers.guidance.dps import DPS, DPSShift
from scoreinv.samplers.guidance.map_em import MAPEM
from scoreinv.samplers.guidance.mbir import MBIR
from scoreinv.samplers.guidance.mcg import MCG
from scoreinv.samplers.guidance.pigdm import PiGDM
from scoreinv.samplers.guidance.pnp_admm import PnPADMM
from scoreinv.samplers.guidance.pocs import POCS

__all__ = [
    "DAPS",
    "DDS",
    "DPS",
    "MAPEM",
    "MBIR",
    "MCG",
    "POCS",
    "DPSShift",
    "DiffPIR",
    "Guidance",
    "LoRA",
    "PiGDM",
    "PnPADMM",
]
