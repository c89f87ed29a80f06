"""What is known before anything is measured: denoisers in one normal form."""

from scoreinv.priors.base import Prior
from scoreinv.priors.gaussian import GaussianPrior
from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.mixture import GaussianMixturePrior
from scoreinv.priors.network import NetworkPrior
from scoreinv.priors.parametrisation import EDM, VE, VP, Parametrisation
from scoreinv.priors.slicewise import SliceWise
from scoreinv.priors.storage import bundled_priors, load_prior, save_prior

__all__ = [
    "EDM",
    "VE",
    "VP",
    "GaussianMixturePrior",
    "GaussianPrior",
    "IntensityMap",
    "NetworkPrior",
    "Parametrisation",
    "Prior",
    "SliceWise",
    "bundled_priors",
    "load_prior",
    "save_prior",
]
