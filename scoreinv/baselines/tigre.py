"""TIGRE's own reconstructions of our scans, on an NVIDIA GPU (Biguri et al. 2016, Biomed. Phys. Eng. Express 2:055010).

All take line integrals (views, v, u) of a `ConeBeamCT`, whatever its backend, and give (z, y, x) in 1/mm on the device
of the measurements. They raise ImportError without TIGRE, RuntimeError without a GPU, TypeError for another operator,
and ValueError for measurements that are not the operator's or not finite, or a scan that TIGRE cannot express.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.tigre import to_tigre
from scoreinv.operators.tigre_projector import import_tigre


def tigre_fdk(operator: LinearOperator, measurements: Tensor) -> Tensor:
    """TIGRE's filtered back-projection, for full circles: a short scan is not weighted for the lines it sees twice."""
    return _reconstructed("fdk", operator, measurements)


def tigre_os_sart(
    operator: LinearOperator, measurements: Tensor, *, iterations: int = 20, block_size: int = 20
) -> Tensor:
    """TIGRE's SART with ordered subsets of `block_size` views."""
    return _reconstructed("ossart", operator, measurements, niter=iterations, blocksize=block_size)


def tigre_asd_pocs(
    operator: LinearOperator, measurements: Tensor, *, iterations: int = 20, tv_iterations: int = 20
) -> Tensor:
    """TIGRE's adaptive steepest descent of total variation, `tv_iterations` after every pass of SART."""
    return _reconstructed("asd_pocs", operator, measurements, niter=iterations, tviter=tv_iterations)


def _reconstructed(algorithm: str, operator: LinearOperator, measurements: Tensor, **options: Any) -> Tensor:
    name = f"TIGRE's {algorithm}"
    if not isinstance(operator, ConeBeamCT):
        raise TypeError(f"{name}: operator is {operator}, expected ConeBeamCT")
    if any(value < 1 for value in options.values()):
        raise ValueError(f"{name}: {options}, expected numbers of at least 1")
    check_measurements(name, operator, measurements)
    tigre = import_tigre(name)
    scan = to_tigre(operator.geometry, operator.volume)
    image = getattr(tigre.algorithms, algorithm)(measurements.cpu().numpy(), *scan, verbose=False, **options)
    return torch.from_numpy(image).to(measurements)
