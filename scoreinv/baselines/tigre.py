"""TIGRE's own reconstructions of our scans, on an NVIDIA GPU (Biguri et al. 2016, Biomed. Phys. Eng. Express 2:055010).

All take line integrals (views, v, u) of a `ConeBeamCT`, whatever its backend, and give (z, y, x) in 1/mm on the device
of the measurements. They raise ImportError without TIGRE, RuntimeError without a GPU, TypeError for another operator,
and ValueError for measurements that are not the operator's or not finite, or a scan that TIGRE cannot express.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.baselines.strengths import default_likelihood
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.likelihood import Gaussian
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.tigre import to_tigre
from scoreinv.operators.tigre_projector import import_tigre

Scan = tuple[Any, NDArray[np.float64]]


def tigre_fdk(operator: LinearOperator, measurements: Tensor) -> Tensor:
    """TIGRE's filtered back-projection of a full, even turn; the detector may be displaced along u.

    Raises:
        ValueError: for any other scan, of which TIGRE's would be wrong: `fdk` weights short scans and places detectors.
    """
    scan = _scan("tigre_fdk", operator, measurements)
    _check_turn(*scan)
    displaced = bool(scan[0].offDetector[1])  # asks for Wang's weights, which are wrong for a detector that is not
    return _reconstructed("tigre_fdk", "fdk", measurements, scan, dowang=displaced)


def tigre_os_sart(
    operator: LinearOperator, measurements: Tensor, *, iterations: int = 20, block_size: int = 20
) -> Tensor:
    """TIGRE's SART with ordered subsets.

    Args:
        operator, measurements: of the scan.
        iterations: passes through all views.
        block_size: views of a subset, 2 or more, as TIGRE mistakes the angle of a single one.
    """
    scan = _scan("tigre_os_sart", operator, measurements)
    _check_numbers("tigre_os_sart", iterations, block_size)
    return _reconstructed("tigre_os_sart", "ossart", measurements, scan, niter=iterations, blocksize=block_size)


def tigre_asd_pocs(
    operator: LinearOperator,
    measurements: Tensor,
    *,
    likelihood: Gaussian | None = None,
    tolerance: float = 1.0,
    iterations: int = 20,
    block_size: int = 20,
) -> Tensor:
    """TIGRE's adaptive steepest descent of total variation, after every pass of SART with ordered subsets.

    Args:
        operator, measurements: of the scan.
        likelihood: noise of the data; None means sigma = 0.01 rms(y).
        tolerance: of the residual, in units of the noise that is to be expected in it.
        iterations, block_size: as of `tigre_os_sart`.
    """
    scan = _scan("tigre_asd_pocs", operator, measurements)
    _check_numbers("tigre_asd_pocs", iterations, block_size)
    if not tolerance > 0:
        raise ValueError(f"tigre_asd_pocs: tolerance {tolerance}, expected tolerance > 0")
    likelihood = default_likelihood(operator, measurements) if likelihood is None else likelihood
    if not isinstance(likelihood, Gaussian) or likelihood.mask is not None:
        raise TypeError(f"tigre_asd_pocs: likelihood is {likelihood}, expected Gaussian noise without a mask")
    residual = tolerance * float((likelihood.sigma * torch.ones_like(measurements)).norm())
    options: dict[str, float] = {"niter": iterations, "blocksize": block_size, "maxl2err": residual}
    return _reconstructed("tigre_asd_pocs", "os_asd_pocs", measurements, scan, **options)


def _scan(name: str, operator: LinearOperator, measurements: Tensor) -> Scan:
    """As TIGRE takes it, of an operator and measurements that are for it."""
    if not isinstance(operator, ConeBeamCT):
        raise TypeError(f"{name}: operator is {operator}, expected ConeBeamCT")
    check_measurements(name, operator, measurements)
    return to_tigre(operator.geometry, operator.volume)


def _check_numbers(name: str, iterations: int, block_size: int) -> None:
    if iterations < 1 or block_size < 2:
        raise ValueError(
            f"{name}: iterations {iterations}, block_size {block_size}; expected iterations >= 1 and block_size >= 2"
        )


def _check_turn(geo: Any, angles: NDArray[np.float64]) -> None:
    """Raise ValueError unless TIGRE's FDK is that of the scan."""
    fixed = not any(map(np.ndim, (geo.DSO, geo.DSD, geo.COR))) and np.ndim(geo.offOrigin) == 1
    upright = np.ndim(geo.offDetector) == np.ndim(geo.rotDetector) == 1 and not np.any(geo.rotDetector)
    if not (fixed and upright) or geo.COR or geo.offDetector[0]:
        raise ValueError(
            "tigre_fdk: the scan is no circle with an upright detector, level with the source; use fdk or tigre_os_sart"
        )
    turns = np.diff(angles) * len(angles) / (2 * np.pi)
    if len(angles) < 3 or np.abs(np.abs(turns) - 1).max() > 1e-3:
        raise ValueError(
            f"tigre_fdk: {len(angles)} views over {np.degrees(np.ptp(angles)):.4g} degrees, expected even steps of a "
            "full turn; use fdk"
        )


def _reconstructed(name: str, algorithm: str, measurements: Tensor, scan: Scan, **options: Any) -> Tensor:
    run = getattr(import_tigre(name, "fdk, sart or asd_pocs").algorithms, algorithm)
    image = run(measurements.detach().cpu().numpy(), *scan, verbose=False, **options)
    return torch.from_numpy(image).to(measurements)
