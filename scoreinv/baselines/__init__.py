"""Classical and learned reconstructions to compare with."""

from scoreinv.baselines.asd_pocs import asd_pocs
from scoreinv.baselines.bsrem import bsrem
from scoreinv.baselines.cg_sense import cg_sense
from scoreinv.baselines.cgls import cgls
from scoreinv.baselines.fdk import fdk
from scoreinv.baselines.l1_wavelet import l1_wavelet
from scoreinv.baselines.naf import naf
from scoreinv.baselines.osem import mlem, osem
from scoreinv.baselines.sart import sart
from scoreinv.baselines.tigre import tigre_asd_pocs, tigre_fdk, tigre_os_sart
from scoreinv.baselines.tv import tv
from scoreinv.baselines.zero_filled import zero_filled

__all__ = [
    "asd_pocs",
    "bsrem",
    "cg_sense",
    "cgls",
    "fdk",
    "l1_wavelet",
    "mlem",
    "naf",
    "osem",
    "sart",
    "tigre_asd_pocs",
    "tigre_fdk",
    "tigre_os_sart",
    "tv",
    "zero_filled",
]

# By what they reconstruct.
CT = ("asd_pocs", "cgls", "fdk", "naf", "sart", "tigre_asd_pocs", "tigre_fdk", "tigre_os_sart", "tv")
MRI = ("cg_sense", "cgls", "l1_wavelet", "tv", "zero_filled")
PET = ("bsrem", "mlem", "osem")
