"""A trained network reconstructs a scan."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.baselines.learned.network import LearnedNetwork
from scoreinv.baselines.learned.points import cell_centers, shadows
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.linear import LinearOperator

# Part of a lattice that may fall beside the detector in every view: the corners of a cube do in any scan.
_UNSEEN, _LATTICE = 0.1, 16


def reconstruct(network: LearnedNetwork, operator: LinearOperator, measurements: Tensor) -> Tensor:
    """The image of a scan, by a trained network.

    The volume may have any shape and voxel size; what must resemble the training is the scan and the field of view, and
    a warning says where they do not.

    Args:
        network: from `load_network`; its device is used, and it is left in evaluation mode.
        operator: ConeBeamCT; for `Unrolled` any.
        measurements: `operator.out_shape`; line integrals (views, v, u), dimensionless, for ConeBeamCT.

    Returns:
        `operator.in_shape`, on the measurements' device. For ConeBeamCT attenuation in 1/mm; all networks but
        `Unrolled` give it within 0 and 0.04 (-1000 to 1000 HU).

    Raises:
        TypeError: for an operator that the network does not know, or no network.
        ValueError: for measurements that are not the operator's or not finite, or more views than the network takes.
    """
    if not isinstance(network, LearnedNetwork):
        raise TypeError(
            f"reconstruct: network is {type(network).__name__}, expected a learned baseline; read one with "
            "load_network(folder)"
        )
    network.check(operator)
    check_measurements(network.kind, operator, measurements)
    if isinstance(operator, ConeBeamCT):
        _warn(network, operator)
    network.eval()
    with torch.no_grad():
        return network.image(operator, measurements).to(measurements.device)


def _warn(network: LearnedNetwork, operator: ConeBeamCT) -> None:
    """Say where the scan is not what the network knows."""
    trained = network.trained_on
    if trained is not None and (found := trained.differences(operator.geometry, operator.volume)):
        warnings.warn(
            f"{network.kind}: the scan differs from those of the training: {'; '.join(found)}; expect a worse image, "
            "or train the network on such scans",
            UserWarning,
            stacklevel=3,
        )
    places = shadows(operator.geometry, cell_centers(operator.volume, (_LATTICE,) * 3))
    beside = float((places.abs() > 1).any(-1).all(0).float().mean())
    if beside > _UNSEEN:
        warnings.warn(
            f"{network.kind}: {beside:.0%} of the volume falls beside the detector in every view; the network can only "
            "guess there, make the Volume smaller",
            UserWarning,
            stacklevel=3,
        )
