"""CT scans: simulated of a volume or a phantom, or read from files of projections."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scoreinv import baselines
from scoreinv.cases.case import Case, lying_on
from scoreinv.cases.lesion import with_lesion
from scoreinv.config.ct import CTSettings, Grid, Phantom, Scan
from scoreinv.io import Image, Projections
from scoreinv.metrics import HOUNSFIELD, to_attenuation
from scoreinv.operators import (
    ConeBeamCT,
    ConeBeamGeometry,
    Gaussian,
    ParallelBeamCT,
    ParallelBeamGeometry,
    TransmissionPoisson,
    Volume,
)
from scoreinv.training.preparation import AIR
from scoreinv.training.resampling import resampled

log = logging.getLogger("scoreinv")
OPAQUE = 15.0  # line integral through which three photons in ten million pass
SOFT = (-150.0, 200.0)  # HU, tissue that lesions are put into
CTOperator = ConeBeamCT | ParallelBeamCT
Geometry = ConeBeamGeometry | ParallelBeamGeometry


def load(settings: CTSettings) -> Case:
    """Read or simulate what is to be reconstructed."""
    source = settings.input
    if source.data_exchange is not None or source.projections is not None:
        return _measured(settings)
    if source.volume is not None:
        from scoreinv.io import read_image

        image = _on_grid(read_image(source.volume), settings.grid)
        return replace(simulate(image.data, image.voxel_size, settings.scan), placed=lying_on(image))
    return simulate(phantom(source.phantom), source.phantom.voxel_size, settings.scan)


def _on_grid(image: Image, grid: Grid) -> Image:
    """A volume in HU on the grid asked for, about the same middle."""
    if grid == Grid():
        return image
    old, size = np.asarray(image.voxel_size), grid.voxel_size or image.voxel_size
    z, y, x = grid.shape or np.maximum(1, np.rint(np.asarray(image.data.shape) * old / size)).astype(int).tolist()
    data = resampled(image.data.clamp(min=AIR), image.voxel_size, (z, y, x), size, AIR)
    middles = [(np.asarray(shape) - 1) / 2 * sizes for shape, sizes in ((image.data.shape, old), ((z, y, x), size))]
    first, second, third = image.origin + image.direction @ (middles[0] - middles[1])
    return replace(image, data=data, voxel_size=size, origin=(first, second, third))


def phantom(settings: Phantom) -> Tensor:
    """The procedural anatomy, (z, y, x) in HU."""
    from scoreinv.phantoms import body

    hu = body(settings.seed, settings.shape, settings.voxel_size)
    return with_lesion(hu, settings.voxel_size, settings.lesion, (hu > SOFT[0]) & (hu < SOFT[1]))


def simulate(hu: Tensor, voxel_size: tuple[float, float, float], scan: Scan) -> Case:
    """A noisy scan of a volume in HU: Poisson counts, whose logarithm has variance 1 / counts."""
    z, y, x = hu.shape
    volume = Volume((z, y, x), voxel_size)
    operator = ConeBeamCT(circular_geometry(volume, scan), volume)
    truth = to_attenuation(hu.clamp(min=AIR)).to(torch.float32)
    expected = operator(truth)
    if scan.photons is None:
        return Case(operator, expected, Gaussian(1e-3), truth, lying_on(volume), HOUNSFIELD)
    generator = torch.Generator().manual_seed(scan.seed)
    counts = TransmissionPoisson(scan.photons).simulate(expected, generator).clamp(min=1)
    return Case(
        operator, -torch.log(counts / scan.photons), Gaussian(counts.rsqrt()), truth, lying_on(volume), HOUNSFIELD
    )


def circular_geometry(volume: Volume, scan: Scan) -> ConeBeamGeometry:
    """The scan's circle, with a detector that covers the volume where none is given."""
    angles = np.arange(scan.views) * math.radians(scan.arc) / scan.views
    magnification = scan.source_to_detector / scan.source_to_isocenter
    pixel = scan.pixel_size or (volume.voxel_size[0] * magnification, volume.voxel_size[2] * magnification)
    if scan.detector_shape is None:
        wide = ConeBeamGeometry.circular(scan.source_to_isocenter, scan.source_to_detector, (1, 1), pixel, angles)
        reach = np.abs(wide.project(volume.corners)).max((0, 1))
        if np.isnan(reach).any():
            raise ValueError(
                f"scan.source_to_isocenter is {scan.source_to_isocenter:g} mm, expected more: the source turns within "
                f"the volume, whose corners are up to {np.linalg.norm(volume.corners[0, 1:]):.0f} mm from the axis"
            )
        shape = (2 * math.ceil(reach[0]), 2 * math.ceil(reach[1]))
    else:
        shape = scan.detector_shape
    parts = scan.source_to_isocenter, scan.source_to_detector, shape, pixel, angles
    if abs(scan.detector_offset[1]) >= shape[1] * pixel[1] / 2:
        raise ValueError(
            f"scan.detector_offset is {scan.detector_offset[1]:g} mm along u, expected less than half the detector, "
            f"{shape[1] * pixel[1] / 2:g} mm: it misses the axis"
        )
    return ConeBeamGeometry.circular(*parts, scan.detector_offset)


def _measured(settings: CTSettings) -> Case:
    """Projections from a file; FDK of all views is the reference for a part of them."""
    from scoreinv.io import read_data_exchange, read_projections, read_rtk

    source = settings.input
    if source.data_exchange is not None:
        projections = read_data_exchange(source.data_exchange, pixel_size=source.pixel_size)
    else:
        assert source.projections is not None
        beside = source.geometry
        projections = read_projections(source.projections) if beside is None else read_rtk(source.projections, beside)
    geometry, lines, likelihood = _prepared(projections, source.bin)
    middle = float(lines.median())
    if middle > OPAQUE:
        raise ValueError(
            f"{source.data_exchange or source.projections}: half of the line integrals are above {middle:.4g}, "
            f"expected up to some {OPAQUE:g}; of counts take -log(counts / counts without an object)"
        )
    volume = _grid(geometry, settings.grid)
    reference = None if source.every == 1 else baselines.fdk(_operator(geometry, volume), lines)
    part = lines[:: source.every].contiguous()
    if likelihood is None:
        likelihood = Gaussian(noise_level(part))
        log.info("noise of the line integrals, estimated from their own roughness: %s", likelihood)
    else:
        likelihood = likelihood.subset(0, source.every)
    return Case(
        _operator(geometry.subset(0, source.every), volume), part, likelihood, reference, lying_on(volume), HOUNSFIELD
    )


def _prepared(projections: Projections, n: int) -> tuple[Geometry, Tensor, Gaussian | None]:
    """Line integrals averaged over n columns, and their noise where counts are known.

    The logarithm of Poisson counts has variance 1 / counts. Pixels that saw nothing even without an object are dead:
    averages go over the others, and where there is none the mean is 0 and masked.
    """
    lines = projections.line_integrals()
    if projections.photons is None:
        return *_binned(projections.geometry, lines, n), None
    photons = torch.as_tensor(projections.photons).expand_as(lines)
    counts = projections.data if projections.kind == "counts" else photons * torch.exp(-lines)
    alive = (photons > 0).to(lines.dtype)
    geometry, share = _binned(projections.geometry, alive, n)
    good = share > 0
    share = torch.where(good, share, 1.0)
    mean = _averaged(alive * lines, n) / share
    variance = _averaged(alive / counts.clamp(min=1), n) / (n * share**2)
    sigma = torch.where(good, variance.sqrt(), 1.0)
    if bool(good.all()):
        return geometry, mean, Gaussian(sigma)
    log.warning("%d of %d measurements are of dead pixels; masked, 0 for baselines", int((~good).sum()), good.numel())
    return geometry, mean, Gaussian(sigma, good)


def _operator(geometry: Geometry, volume: Volume) -> CTOperator:
    if isinstance(geometry, ConeBeamGeometry):
        return ConeBeamCT(geometry, volume)
    return ParallelBeamCT(geometry, volume)


def noise_level(projections: Tensor) -> float:
    """Standard deviation of white noise, from second differences along detector rows; (views, v, u) -> scalar.

    The median absolute deviation ignores edges; second differences of white noise have variance 6 sigma^2.
    """
    if projections.shape[-1] < 3:
        raise ValueError(f"noise_level: rows have {projections.shape[-1]} columns, expected at least 3; bin fewer")
    rough = projections.diff(n=2, dim=-1).flatten()
    return max(float(rough.abs().median()) / 0.6745 / math.sqrt(6), 1e-6)


def _binned(geometry: Geometry, lines: Tensor, n: int) -> tuple[Geometry, Tensor]:
    """Averages of n detector columns; columns left over at the end are dropped."""
    if n == 1:
        return geometry, lines
    rows, columns = geometry.detector_shape
    kept = columns // n
    if kept == 0:
        raise ValueError(f"input.bin: {n} columns are to be averaged, expected at most the detector's {columns}")
    shift = -(columns - kept * n) / 2  # of the detector's middle, in old pixels
    binned = replace(
        geometry,
        detector_shape=(rows, kept),
        u_steps=n * geometry.u_steps,
        detector_centers=geometry.detector_centers + shift * geometry.u_steps,
    )
    return binned, _averaged(lines, n)


def _averaged(projections: Tensor, n: int) -> Tensor:
    kept = projections.shape[-1] // n
    return projections[..., : kept * n].unflatten(-1, (kept, n)).mean(-1)


def _grid(geometry: Geometry, grid: Grid) -> Volume:
    """The grid asked for, or one voxel per detector pixel at the axis over the field of view."""
    pixel = [float(np.linalg.norm(steps[0])) for steps in (geometry.v_steps, geometry.u_steps)]
    if isinstance(geometry, ConeBeamGeometry):
        # Depths along the detector's normal: the middle of a displaced detector is not opposite the source.
        normal = np.cross(geometry.u_steps[0], geometry.v_steps[0])
        depth = (geometry.detector_centers[0] - geometry.sources[0]) @ normal
        magnification = float(depth / (-geometry.sources[0] @ normal))
        pixel = [size / magnification for size in pixel]
    rows, columns = geometry.detector_shape
    return Volume(grid.shape or (rows, columns, columns), grid.voxel_size or (pixel[0], pixel[1], pixel[1]))
