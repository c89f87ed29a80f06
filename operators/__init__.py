"""What a scanner does: linear operators with exact adjoints, geometries, noise models, solvers."""

from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry, Rays, Volume
from scoreinv.operators.likelihood import Gaussian, Likelihood, TransmissionPoisson
from scoreinv.operators.linear import LinearOperator, Stack
from scoreinv.operators.solvers import CGResult, conjugate_gradients, power_iteration

__all__ = [
    "CGResult",
    "ConeBeamGeometry",
    "FiniteDifference",
    "Gaussian",
    "Likelihood",
    "LinearOperator",
    "ParallelBeamGeometry",
    "Rays",
    "Stack",
    "TransmissionPoisson",
    "Volume",
    "conjugate_gradients",
    "power_iteration",
]
