"""Reconstruction by networks trained on pairs of volume and scan, and what they have in common."""

from scoreinv.baselines.learned.dif_net import DIFNet
from scoreinv.baselines.learned.fbpconvnet import FBPConvNet
from scoreinv.baselines.learned.network import LearnedNetwork
from scoreinv.baselines.learned.reconstruct import reconstruct
from scoreinv.baselines.learned.training_scans import TrainingScans
from scoreinv.baselines.learned.unrolled import Unrolled

__all__ = ["DIFNet", "FBPConvNet", "LearnedNetwork", "TrainingScans", "Unrolled", "reconstruct"]
