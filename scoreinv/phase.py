"""The phase of MR images, which files of magnitudes do not know."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def smooth_phase(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """A random phase (height, width), rad: a constant, a ramp and a field of long wavelength.

    So coils, delays and an inhomogeneous field make it; the ramp stays below pi from the middle to the border.
    """
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 5, 5)).astype(np.float32))
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0, 0]
    y, x = (torch.linspace(-1, 1, n) for n in (height, width))
    slope_y, slope_x = (float(s) for s in rng.uniform(-math.pi, math.pi, 2))
    ramp = slope_y * y[:, None] + slope_x * x
    return float(rng.uniform(0, 2 * math.pi)) + float(rng.uniform(0, 1)) * ramp + float(rng.uniform(0, 1)) * smooth
