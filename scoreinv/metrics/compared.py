"""What is said of an image beside its reference, wherever results are written."""

from __future__ import annotations

from torch import Tensor

from scoreinv.metrics.error import psnr
from scoreinv.metrics.information import vif
from scoreinv.metrics.scale import Scale
from scoreinv.metrics.structure import ssim


def compared(image: Tensor, reference: Tensor, scale: Scale) -> dict[str, float]:
    """PSNR (dB), SSIM and VIF by name; arguments and errors as theirs."""
    parts = image, reference, scale
    return {"psnr": psnr(*parts), "ssim": ssim(*parts), "vif": vif(*parts)}
