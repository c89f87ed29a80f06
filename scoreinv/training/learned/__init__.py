"""Training of learned reconstructions on pairs of volume and scan."""

from scoreinv.training.learned.deepsparse import DeepSparseSettings
from scoreinv.training.learned.dif_net import DIFNetSettings
from scoreinv.training.learned.fbpconvnet import FBPConvNetSettings
from scoreinv.training.learned.settings import LearnedSettings
from scoreinv.training.learned.train import train_network
from scoreinv.training.learned.unrolled import UnrolledSettings

# By the name that a configuration calls its model.
MODELS: dict[str, type[LearnedSettings]] = {
    "deepsparse": DeepSparseSettings,
    "dif_net": DIFNetSettings,
    "fbpconvnet": FBPConvNetSettings,
    "unrolled": UnrolledSettings,
}

__all__ = [
    "MODELS",
    "DIFNetSettings",
    "DeepSparseSettings",
    "FBPConvNetSettings",
    "LearnedSettings",
    "UnrolledSettings",
    "train_network",
]
