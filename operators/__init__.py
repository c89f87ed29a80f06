"""What a scanner does: linear operators with exact adjoints, geometries, noise models, solvers."""

from scoreinv.operators import sampling, trajectories
from scoreinv.operators.cone_beam import ConeBeamCT, ParallelBeamCT
from scoreinv.operators.density import pipe_menon, radial_density
from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry, Rays, Volume
from scoreinv.operators.likelihood import Gaussian, Likelihood, TransmissionPoisson
from scoreinv.operators.linear import LinearOperator, Stack
from scoreinv.operators.mri import CartesianMRI, NonCartesianMRI
from scoreinv.operators.rays import RayTransform
from scoreinv.operators.solvers import CGResult, conjugate_gradients, power_iteration

__all__ = [
    "CGResult",
    "CartesianMRI",
    "ConeBeamCT",
    "ConeBeamGeometry",
    "FiniteDifference",
    "Gaussian",
    "Likelihood",
    "LinearOperator",
    "NonCartesianMRI",
    "ParallelBeamCT",
    "ParallelBeamGeometry",
    "RayTransform",
    "Rays",
    "Stack",
    "TransmissionPoisson",
    "Volume",
    "conjugate_gradients",
    "pipe_menon",
    "power_iteration",
    "radial_density",
    "sampling",
    "trajectories",
]
