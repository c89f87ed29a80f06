"""Simulated scans for training: many candidate views of a circular orbit, with the noise of counts and electronics."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Volume
from scoreinv.training.settings import Section

_BODY = 0.01  # 1/mm, half of water: what belongs to the patient
_LOOKED_AT = 12  # views that are looked at for truncation


class ScanSettings(Section):
    """A circular cone-beam scan, of which training picks some views at a time; the defaults are DeepSparse's."""

    source_to_isocenter: float = Field(800.0, gt=0, description="mm")
    source_to_detector: float = Field(1200.0, gt=0, description="mm")
    detector_shape: tuple[PositiveInt, PositiveInt] = Field((256, 256), description="(v, u)")
    pixel_size: tuple[PositiveFloat, PositiveFloat] = Field((2.4, 2.4), description="(v, u) mm")
    detector_offset: tuple[float, float] = Field((0.0, 0.0), description="(v, u) mm")
    views: int = Field(200, ge=1, description="candidates, evenly spread over the arc")
    arc: float = Field(180.0, gt=0, le=360, description="degrees")
    photons: float | None = Field(1e5, gt=0, description="per pixel before the patient; None adds no noise")
    electronic_noise: float = Field(10.0, ge=0, description="standard deviation, photons")

    def geometry(self) -> ConeBeamGeometry:
        return ConeBeamGeometry.circular(
            self.source_to_isocenter,
            self.source_to_detector,
            self.detector_shape,
            self.pixel_size,
            np.deg2rad(self.arc) * np.arange(self.views) / self.views,
            self.detector_offset,
        )


def simulate(attenuation: Tensor, grid: Volume, scan: ScanSettings, rng: np.random.Generator) -> Tensor:
    """Noisy line integrals (views, v, u) of attenuation (z, y, x) in 1/mm.

    Counts are Poisson(I exp(-l)) + Gaussian(electronic noise), and at least 1 where their logarithm is taken.
    """
    exact = ConeBeamCT(scan.geometry(), grid).forward(attenuation)
    if scan.photons is None:
        return exact
    counts = rng.poisson(scan.photons * np.exp(-exact.numpy().astype(np.float64))).astype(np.float64)
    counts += scan.electronic_noise * rng.standard_normal(counts.shape, dtype=np.float32)
    return torch.from_numpy(-np.log(np.maximum(counts, 1.0) / scan.photons)).float()


def truncated(attenuation: Tensor, grid: Volume, geometry: ConeBeamGeometry) -> float:
    """Part of the patient's voxels that cast their shadow beside the detector, along u, in some view."""
    body = np.argwhere(attenuation.numpy() > _BODY)
    if not len(body):
        return 0.0
    body = body[:: max(1, len(body) // 20000)]
    points = grid.first_voxel + body * grid.voxel_size
    columns = geometry.subset(0, max(1, geometry.views // _LOOKED_AT)).project(points)[..., 1]
    beside = (columns < -0.5) | (columns > geometry.detector_shape[1] - 0.5)
    return float(beside.any(0).mean())
