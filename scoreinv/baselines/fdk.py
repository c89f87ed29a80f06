"""Filtered back-projection for circular scans: FDK for cone beams, FBP for parallel ones.

One rule covers full turns, short scans and displaced detectors. A line in the plane of the orbit is measured once or
twice: by the ray (beta, u) and, where the scan and the detector reach that far, by its opposite
(beta + pi - 2 gamma, -u). Each measurement gets the weight c / (c + c_opposite), which adds up to 1 on every line.
The confidence c is smooth and falls to 0 where the scan begins and ends and at the rims of the detector, so that no
weight jumps where the second measurement sets in; the ramp filter would turn a jump into a streak. For a full turn on a
centred detector all weights are 1/2. For a short scan they do what Parker's do, for a displaced detector what Wang's
do, and angles may be spaced unevenly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.baselines.backprojection import backproject
from scoreinv.baselines.checks import check_measurements
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry
from scoreinv.operators.linear import LinearOperator

Array = NDArray[np.float64]
Geometry = ConeBeamGeometry | ParallelBeamGeometry
Filter = Literal["ramp", "shepp-logan", "hann"]
_FILTERS = ("ramp", "shepp-logan", "hann")
# How far a calibrated scan may be from an ideal circle: relative lengths, and angles in rad.
_TOLERANCE = 0.02


def fdk(operator: LinearOperator, measurements: Tensor, *, filter: Filter = "ramp") -> Tensor:
    """Feldkamp-Davis-Kress reconstruction of a circular cone-beam scan; filtered back-projection of a parallel one.

    mu = sum over views of dbeta R^2 / depth^2 (h * w p): projections p are weighted (w) for the obliquity of their rays
    and for lines measured twice, convolved along u with the band-limited ramp h, and read by every voxel at its shadow,
    with R the radius of the orbit and depth the voxel's distance from the source, seen along the central ray. Exact in
    the plane of the orbit, approximate elsewhere.

    Args:
        operator: ConeBeamCT or ParallelBeamCT, turning about the z axis; full turn, short scan or displaced detector.
        measurements: line integrals (views, v, u), dimensionless.
        filter: "ramp", or the ramp times a "shepp-logan" or "hann" window, which trade resolution for noise.

    Returns:
        (z, y, x), attenuation in 1/mm, on the device of the measurements; computed on the CPU. Voxels that no view
        sees are 0.

    Raises:
        TypeError: for another kind of operator, or measurements of another dtype.
        ValueError: for an orbit that is no circle about z, a tilted detector, measurements of another shape, NaN or
            Inf, or an unknown filter.

    Feldkamp, Davis and Kress 1984, JOSA A 1:612, eq. 28; Kak and Slaney 1988, eq. 3.61 (kernel) and 3.113 (fan beam);
    Parker 1982, Med. Phys. 9:254 and Wang 2002, Med. Phys. 29:1634 (lines measured twice).
    """
    geometry = getattr(operator, "geometry", None)
    volume = getattr(operator, "volume", None)
    if not isinstance(geometry, ConeBeamGeometry | ParallelBeamGeometry) or volume is None:
        raise TypeError(f"fdk: operator is {operator}, expected ConeBeamCT or ParallelBeamCT; use cgls or sart")
    if filter not in _FILTERS:
        raise ValueError(f"fdk: filter is {filter!r}, expected one of {', '.join(_FILTERS)}")
    check_measurements("fdk", operator, measurements)
    scan = _cone_scan(geometry) if isinstance(geometry, ConeBeamGeometry) else _parallel_scan(geometry)
    weights = torch.as_tensor(_weights(scan), dtype=torch.float32)
    weighted, wide = _widen(measurements.detach().cpu() * weights, geometry, scan)
    filtered = _ramp_filter(weighted, filter)
    return torch.from_numpy(backproject(filtered.numpy(), wide, volume)).to(measurements.device)


@dataclass(frozen=True)
class _Scan:
    """A circular scan in the terms of the formulas.

    Attributes:
        angles: (views,) of the source seen from the axis, rad.
        u: (views, columns) position of pixels along (-sin, cos), from the central ray, on the detector, mm.
        v: (views, rows) position along z, from the plane of the orbit, mm.
        distance: (views,) source to detector, mm; inf for parallel rays.
        magnification: (views,) of the axis onto the detector.
    """

    angles: Array
    u: Array
    v: Array
    distance: Array
    magnification: Array

    @cached_property
    def pitch(self) -> Array:
        """(views,) width of a column, mm."""
        columns = self.u.shape[1]
        return np.abs(self.u[:, -1] - self.u[:, 0]) / (columns - 1) if columns > 1 else np.ones(len(self.u))

    @cached_property
    def arc(self) -> tuple[float, Array]:
        """Where the scanned arc starts, and the part of it that each view stands for, rad.

        A view stands for half the way to each neighbour. The largest gap, if more than three times the usual one, is
        the part of the circle that was not scanned; the views next to it reach as far outwards as inwards.
        """
        turned = np.mod(self.angles, 2 * np.pi)
        order = np.argsort(turned, kind="stable")
        after = np.diff(turned[order], append=turned[order[0]] + 2 * np.pi)
        before = np.roll(after, 1)
        last = int(after.argmax())
        first = (last + 1) % len(after)
        if after[last] > 3 * np.median(after):
            after[last], before[first] = before[last], after[first]
        cells = np.empty_like(after)
        cells[order] = (before + after) / 2
        return float(turned[order[first]] - before[first] / 2), cells


def _cone_scan(geometry: ConeBeamGeometry) -> _Scan:
    S = geometry.sources
    radius = np.hypot(S[:, 1], S[:, 2])
    R = radius.mean()
    off = max(np.abs(radius - R).max(), np.abs(S[:, 0] - S[:, 0].mean()).max())
    if off > _TOLERANCE * R:
        raise ValueError(
            f"fdk: sources are up to {off:.3g} mm off a circle about the z axis (radius {R:.4g} mm), expected a "
            "circular orbit; use sart or cgls"
        )
    outward = np.stack([np.zeros_like(radius), S[:, 1] / radius, S[:, 2] / radius], -1)
    angles, u, v = _detector_axes(geometry, outward, S)
    distance = _dot(S - geometry.detector_centers, outward)
    return _Scan(angles, u, v, distance, distance / radius)


def _parallel_scan(geometry: ParallelBeamGeometry) -> _Scan:
    outward = -geometry.directions
    angles, u, v = _detector_axes(geometry, outward, np.zeros(3))
    one = np.ones(geometry.views)
    return _Scan(angles, u, v, np.inf * one, one)


def _detector_axes(geometry: Geometry, outward: Array, origin: Array) -> tuple[Array, Array, Array]:
    """Angles, and pixel positions along the tangent and along z; refuses a detector that is not square to the rays."""
    tangent = np.stack([np.zeros(len(outward)), outward[:, 2], -outward[:, 1]], -1)
    along_u, along_z = _dot(geometry.u_steps, tangent), geometry.v_steps[:, 0]
    tilt = max(
        np.abs(1 - np.abs(along_u) / np.linalg.norm(geometry.u_steps, axis=1)).max(),
        np.abs(1 - np.abs(along_z) / np.linalg.norm(geometry.v_steps, axis=1)).max(),
        np.abs(1 - np.hypot(outward[:, 1], outward[:, 2])).max(),
    )
    if tilt > _TOLERANCE**2 / 2:  # 1 - cos
        raise ValueError(
            f"fdk: detector or rays are tilted by up to {np.degrees(np.arccos(1 - min(tilt, 1.0))):.3g} degrees, "
            "expected u along the orbit and v along z; use sart or cgls"
        )
    middle = geometry.detector_centers - origin
    n_v, n_u = geometry.detector_shape
    u = _dot(middle, tangent)[:, None] + along_u[:, None] * (np.arange(n_u) - (n_u - 1) / 2)
    v = middle[:, :1] + along_z[:, None] * (np.arange(n_v) - (n_v - 1) / 2)
    return np.arctan2(outward[:, 1], outward[:, 2]), u, v


def _weights(scan: _Scan) -> Array:
    """(views, v, u): everything that multiplies the projections before the filter, and its scale."""
    _, cells = scan.arc
    # The filter wants the pitch at the axis; the back-projection divides by depth^2 relative to the detector, not to R.
    scale = cells * scan.magnification / scan.pitch / scan.magnification**2
    slope_u, slope_v = scan.u / scan.distance[:, None], scan.v / scan.distance[:, None]
    obliquity = 1 / np.sqrt(1 + slope_u[:, None, :] ** 2 + slope_v[:, :, None] ** 2)
    return scale[:, None, None] * _redundancy(scan)[:, None, :] * obliquity


def _redundancy(scan: _Scan) -> Array:
    """(views, u): share of each ray among the measurements of its line; see the top of this module."""
    gamma = np.arctan(scan.u / scan.distance[:, None])
    beta = np.broadcast_to(scan.angles[:, None], gamma.shape)
    own = _confidence(scan, beta, scan.u)
    return own / (own + _confidence(scan, beta + np.pi - 2 * gamma, -scan.u))


def _confidence(scan: _Scan, beta: Array, u: Array) -> Array:
    """c(beta, u) > 0 where the scan measures the ray, else 0."""
    start, cells = scan.arc
    covered = cells.sum()
    whole_turn = covered > 2 * np.pi - 1e-6
    in_time = 1.0 if whole_turn else _window(np.mod(beta - start, 2 * np.pi) / covered)
    low = scan.u.min(1, keepdims=True) - scan.pitch[:, None] / 2
    width = scan.u.shape[1] * scan.pitch[:, None]
    return in_time * _window((u - low) / width)


def _window(t: Array) -> Array:
    """sin^2 over [0, 1], 0 outside."""
    return np.where((t > 0) & (t < 1), np.sin(np.pi * np.clip(t, 0, 1)) ** 2, 0.0)


def _widen(projections: Tensor, geometry: Geometry, scan: _Scan) -> tuple[Tensor, Geometry]:
    """Columns of zeros on the short side of a displaced detector, up to the mirror image of its far rim.

    The filter spreads what was measured over them, and voxels on that side must read it.
    """
    n_v, n_u = geometry.detector_shape
    centre = -scan.u[:, 0] / (scan.u[:, 1] - scan.u[:, 0]) if n_u > 1 else np.zeros(1)  # column of the central ray
    before = max(0, math.ceil((n_u - 1 - 2 * centre).max() - 0.5))
    after = max(0, math.ceil((2 * centre - n_u + 1).max() - 0.5))
    middle = geometry.detector_centers + (after - before) / 2 * geometry.u_steps
    wide = replace(geometry, detector_centers=middle, detector_shape=(n_v, n_u + before + after))
    return torch.nn.functional.pad(projections, (before, after)), wide


def _ramp_filter(projections: Tensor, name: str) -> Tensor:
    """Convolve the last axis with pitch^2 times the band-limited ramp of Kak and Slaney, eq. 3.61.

    Built in space and padded to twice the length: sampling |f| in frequency would lose its mean and wrap around.
    """
    columns = projections.shape[-1]
    length = 1 << (2 * columns - 1).bit_length()
    n = torch.fft.fftfreq(length, 1 / length, dtype=torch.float64)
    kernel = torch.where(n.abs() % 2 == 1, -1 / (torch.pi * n) ** 2, 0.0)
    kernel[0] = 0.25
    response = torch.fft.rfft(kernel).real
    frequency = torch.fft.rfftfreq(length, dtype=torch.float64)  # cycles per pixel, at most 1/2
    if name == "hann":
        response = response * torch.cos(torch.pi * frequency) ** 2
    elif name == "shepp-logan":
        response = response * torch.sinc(frequency)
    spectrum = torch.fft.rfft(projections, length) * response.to(torch.float32)
    return torch.fft.irfft(spectrum, length)[..., :columns].contiguous()


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ni,ni->n", a, b)
