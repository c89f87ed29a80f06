"""What is known before anything is measured: denoisers in one normal form."""

from scoreinv.priors.base import Prior
from scoreinv.priors.gaussian import GaussianPrior
from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.mixture import GaussianMixturePrior
from scoreinv.priors.network import NetworkPrior
from scoreinv.priors.nonnegative import NonNegative
from scoreinv.priors.parametrisation import EDM, VE, VP, Parametrisation
from scoreinv.priors.planes import PerpendicularPlanes
from scoreinv.priors.slicewise import SliceWise
from scoreinv.priors.storage import bundled_priors, load_prior, save_prior
from scoreinv.priors.tiled import Tiled

__all__ = [
    "EDM",
    "VE",
    "VP",
    "GaussianMixturePrior",
    "GaussianPrior",
    "IntensityMap",
    "NetworkPrior",
    "NonNegative",
    "Parametrisation",
    "PerpendicularPlanes",
    "Prior",
    "SliceWise",
    "Tiled",
    "bundled_priors",
    "load_prior",
    "save_prior",
]
