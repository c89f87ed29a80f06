"""scoreinv: any operator, any noise model, any diffusion prior, one loop."""

import scoreinv._openmp  # noqa: F401  (before torch)
from scoreinv._version import __version__
from scoreinv.priors.storage import load_prior
from scoreinv.result import Reconstruction
from scoreinv.solve import solve

__all__ = ["Reconstruction", "__version__", "load_prior", "solve"]
