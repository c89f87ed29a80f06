"""Training on one's own images: score networks of priors, and learned baselines."""

from scoreinv.training.learned import LearnedSettings, train_network
from scoreinv.training.preparation import PrepareSettings, prepare
from scoreinv.training.settings import TrainSettings
from scoreinv.training.train import train

__all__ = ["LearnedSettings", "PrepareSettings", "TrainSettings", "prepare", "train", "train_network"]
