"""What a scanner does: linear operators with exact adjoints, geometries, noise models, solvers."""

from scoreinv.operators.cone_beam import ConeBeamCT, ParallelBeamCT
from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry, Rays, Volume
from scoreinv.operators.likelihood import Gaussian, Likelihood, Poisson, TransmissionPoisson
from scoreinv.operators.linear import LinearOperator, Stack
from scoreinv.operators.lines import LinesOfResponse
from scoreinv.operators.list_mode import ListModePET
from scoreinv.operators.mri import CartesianMRI
from scoreinv.operators.pet import PET
from scoreinv.operators.randoms import crystal_rates
from scoreinv.operators.rays import RayTransform
from scoreinv.operators.scanner import PETScanner, Sinogram, herman_meyer, mmr_efficiencies
from scoreinv.operators.solvers import CGResult, conjugate_gradients, power_iteration
from scoreinv.operators.tof import TOF

__all__ = [
    "PET",
    "TOF",
    "CGResult",
    "CartesianMRI",
    "ConeBeamCT",
    "ConeBeamGeometry",
    "FiniteDifference",
    "Gaussian",
    "Likelihood",
    "LinearOperator",
    "LinesOfResponse",
    "ListModePET",
    "PETScanner",
    "ParallelBeamCT",
    "ParallelBeamGeometry",
    "Poisson",
    "RayTransform",
    "Rays",
    "Sinogram",
    "Stack",
    "TransmissionPoisson",
    "Volume",
    "conjugate_gradients",
    "crystal_rates",
    "herman_meyer",
    "mmr_efficiencies",
    "power_iteration",
]
