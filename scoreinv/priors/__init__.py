"""What is known before anything is measured: denoisers in one normal form."""

from scoreinv.priors.base import Prior
from scoreinv.priors.gaussian import GaussianPrior
from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.network import NetworkPrior
from scoreinv.priors.slicewise import SliceWise
from scoreinv.priors.storage import bundled_priors, load_prior, save_prior

__all__ = [
    "GaussianPrior",
    "IntensityMap",
    "NetworkPrior",
    "Prior",
    "SliceWise",
    "bundled_priors",
    "load_prior",
    "save_prior",
]
