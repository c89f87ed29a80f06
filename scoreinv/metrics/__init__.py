"""How near an image is to a reference, and what a reference cannot say: sharpness, noise and contrast of a system."""

from scoreinv.metrics.contrast import contrast_recovery, uniformity
from scoreinv.metrics.noise_power import noise_power_spectrum
from scoreinv.metrics.scales import (
    HOUNSFIELD,
    MU_WATER,
    Scale,
    activities,
    magnitudes,
    to_attenuation,
    to_hu,
)
from scoreinv.metrics.sharpness import modulation_transfer
from scoreinv.metrics.similarity import hfen, nrmse, psnr, ssim
from scoreinv.metrics.vif import vif

__all__ = [
    "HOUNSFIELD",
    "MU_WATER",
    "Scale",
    "activities",
    "contrast_recovery",
    "hfen",
    "magnitudes",
    "modulation_transfer",
    "noise_power_spectrum",
    "nrmse",
    "psnr",
    "ssim",
    "to_attenuation",
    "to_hu",
    "uniformity",
    "vif",
]
