"""Training DeepSparse on pairs of volume and scan."""

from scoreinv.training.deepsparse.settings import DeepSparseSettings
from scoreinv.training.deepsparse.train import train_deepsparse

__all__ = ["DeepSparseSettings", "train_deepsparse"]
