"""Training on one's own images: score networks of priors, and learned baselines."""

from scoreinv.training.deepsparse import DeepSparseSettings, train_deepsparse
from scoreinv.training.preparation import PrepareSettings, prepare
from scoreinv.training.settings import TrainSettings
from scoreinv.training.train import train

__all__ = ["DeepSparseSettings", "PrepareSettings", "TrainSettings", "prepare", "train", "train_deepsparse"]
