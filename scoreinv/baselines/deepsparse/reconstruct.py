"""DeepSparse reconstructs a scan."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.baselines.deepsparse.network import DiCE
from scoreinv.baselines.deepsparse.sampling import cell_centers, shadows, within
from scoreinv.baselines.deepsparse.units import ATTENUATION, LINE_INTEGRAL
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.linear import LinearOperator

_FEWEST_VIEWS = 4
# Part of the lattice that may fall beside the detector in every view: the corners of a cube do in any scan.
_UNSEEN = 0.1


def deepsparse(operator: LinearOperator, measurements: Tensor, network: DiCE, *, chunk: int = 65536) -> Tensor:
    """Attenuation of every voxel from a few views, by a trained network.

    The views are encoded once, then voxels are decoded at their exact middles in chunks. The volume may have any shape
    and voxel size; what must resemble the training is the scan and the field of view, and a warning says where they do
    not.

    Args:
        operator: ConeBeamCT; at least 4 views.
        measurements: line integrals (views, v, u), dimensionless.
        network: from `load_deepsparse`; its device is used, and it is left in evaluation mode.
        chunk: voxels at a time; 65536 need about 0.4 GB beside the features with the published network.

    Returns:
        (z, y, x), attenuation in 1/mm within 0 and 0.04 (-1000 to 1000 HU), on the measurements' device.

    Raises:
        TypeError: for another kind of operator or network.
        ValueError: for fewer than 4 views, or measurements that are not the operator's or not finite.

    DeepSparse, IEEE TMI 2026, section III.E.
    """
    if not isinstance(operator, ConeBeamCT):
        raise TypeError(f"deepsparse: operator is {operator}, expected ConeBeamCT; use a classical baseline")
    if not isinstance(network, DiCE):
        raise TypeError(
            f"deepsparse: network is {type(network).__name__}, expected DiCE; read one with load_deepsparse(folder)"
        )
    if chunk < 1:
        raise ValueError(f"deepsparse: chunk is {chunk}, expected a number of voxels >= 1")
    geometry, volume = operator.geometry, operator.volume
    if geometry.views < _FEWEST_VIEWS:
        raise ValueError(
            f"deepsparse: {geometry.views} views, expected at least {_FEWEST_VIEWS}; a network cannot tell depth from "
            "fewer, use solve with a prior"
        )
    check_measurements("deepsparse", operator, measurements)
    lattice = cell_centers(volume, (network.lattice,) * 3)
    places = shadows(geometry, lattice, network.multiple)
    _warn(network, operator, places)
    return _decode(network.eval(), operator, measurements, places, chunk).to(measurements.device)


@torch.no_grad()
def _decode(network: DiCE, operator: ConeBeamCT, measurements: Tensor, places: Tensor, chunk: int) -> Tensor:
    """The volume, on the network's device; `places` are the lattice's."""
    geometry, volume = operator.geometry, operator.volume
    device = next(network.parameters()).device
    maps = network.encode(measurements.to(device)[None] / LINE_INTEGRAL)
    quantised, _ = network.quantise(network.lift(maps, places.to(device)[None]))
    features = network.decode(network.denoised(quantised) if network.denoise else quantised)
    voxels = math.prod(volume.shape)
    out = torch.empty(voxels, device=device)
    for begin in range(0, voxels, chunk):
        end = min(begin + chunk, voxels)
        points = cell_centers(volume, volume.shape, begin, end)
        seen = shadows(geometry, points, network.multiple)
        out[begin:end] = network.at_points(
            maps, features, within(volume, points).to(device)[None], seen.to(device)[None]
        )[0]
    return (out.clamp(0, 1) * ATTENUATION).reshape(volume.shape)


def _warn(network: DiCE, operator: ConeBeamCT, places: Tensor) -> None:
    """Say where the scan is not what the network knows."""
    trained = network.trained_on
    if trained is not None and (found := trained.differences(operator.geometry, operator.volume)):
        warnings.warn(
            f"deepsparse: the scan differs from those of the training: {'; '.join(found)}; expect a worse image, or "
            "finetune the network on such scans",
            UserWarning,
            stacklevel=3,
        )
    beside = float((places.abs() > 1).any(-1).all(0).float().mean())
    if beside > _UNSEEN:
        warnings.warn(
            f"deepsparse: {beside:.0%} of the volume falls beside the detector in every view; the network can only "
            "guess there, make the Volume smaller",
            UserWarning,
            stacklevel=3,
        )
