"""How good an image is, on the scale that people read images of its modality on.

Beside a reference: `psnr`, `nrmse`, `ssim`, `vif`, `hfen`, `contrast_recovery`, and `compared`, what results are
written with. Alone: `mtf_at_edge`, `noise_power`, `uniformity`. Masks are bool, of the image's shape, and choose what
counts.
"""

from scoreinv.metrics.compared import compared
from scoreinv.metrics.error import nrmse, psnr
from scoreinv.metrics.high_frequency import hfen
from scoreinv.metrics.information import vif
from scoreinv.metrics.noise import NoisePower, noise_power
from scoreinv.metrics.regions import contrast_recovery, uniformity
from scoreinv.metrics.resolution import EdgeResponse, mtf_at_edge
from scoreinv.metrics.scale import (
    HOUNSFIELD,
    MU_WATER,
    Scale,
    activities,
    magnitudes,
    to_attenuation,
    to_hu,
)
from scoreinv.metrics.structure import SSIM_WINDOW, ssim

__all__ = [
    "HOUNSFIELD",
    "MU_WATER",
    "SSIM_WINDOW",
    "EdgeResponse",
    "NoisePower",
    "Scale",
    "activities",
    "compared",
    "contrast_recovery",
    "hfen",
    "magnitudes",
    "mtf_at_edge",
    "noise_power",
    "nrmse",
    "psnr",
    "ssim",
    "to_attenuation",
    "to_hu",
    "uniformity",
    "vif",
]
