"""What a scanner does: linear operators with exact adjoints, geometries, noise models, solvers."""

from scoreinv.operators import sampling, trajectories
from scoreinv.operators.coil_maps import espirit, walsh
from scoreinv.operators.coils import coil_compression, prewhiten, rss, simulated_coils
from scoreinv.operators.cone_beam import ConeBeamCT, ParallelBeamCT
from scoreinv.operators.density import pipe_menon, radial_density
from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry, Rays, Volume
from scoreinv.operators.likelihood import Gaussian, Likelihood, Poisson, TransmissionPoisson
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.lines import LinesOfResponse
from scoreinv.operators.list_mode import ListModePET
from scoreinv.operators.mri import CartesianMRI, NonCartesianMRI
from scoreinv.operators.neighbours import Neighbours
from scoreinv.operators.noise_level import k_space_noise
from scoreinv.operators.pet import PET
from scoreinv.operators.randoms import crystal_rates
from scoreinv.operators.rays import RayTransform
from scoreinv.operators.relative_difference import RelativeDifference
from scoreinv.operators.scanner import PETScanner, Sinogram, herman_meyer, mmr_efficiencies
from scoreinv.operators.solvers import CGResult, conjugate_gradients, power_iteration
from scoreinv.operators.stack import Stack
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
    "Neighbours",
    "NonCartesianMRI",
    "PETScanner",
    "ParallelBeamCT",
    "ParallelBeamGeometry",
    "Poisson",
    "RayTransform",
    "Rays",
    "RelativeDifference",
    "Sinogram",
    "Stack",
    "TransmissionPoisson",
    "Volume",
    "coil_compression",
    "conjugate_gradients",
    "crystal_rates",
    "espirit",
    "herman_meyer",
    "k_space_noise",
    "mmr_efficiencies",
    "pipe_menon",
    "power_iteration",
    "prewhiten",
    "radial_density",
    "rss",
    "sampling",
    "simulated_coils",
    "trajectories",
    "walsh",
]
