"""Training score networks on one's own images."""

from scoreinv.training.settings import TrainSettings
from scoreinv.training.train import train

__all__ = ["TrainSettings", "train"]
