"""What every learned reconstruction is: a network that knows its configuration and what it was trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scoreinv.baselines.learned.training_scans import TrainingScans
from scoreinv.operators.cone_beam import ConeBeamCT
from scoreinv.operators.linear import LinearOperator


class LearnedNetwork(nn.Module, ABC):
    """A network that makes an image of measurements; `reconstruct` is the way in for users.

    Args:
        configuration: the arguments of the subclass, as they are stored beside the weights.

    Attributes:
        kind: name on disk and in messages.
        trained_on: the scans of the training; None where they are not known, or not of a cone beam.
    """

    kind: ClassVar[str]

    def __init__(self, **configuration: Any) -> None:
        super().__init__()
        self.configuration = configuration
        self.trained_on: TrainingScans | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def check(self, operator: LinearOperator) -> None:
        """Raise TypeError or ValueError unless the network can reconstruct scans of this operator."""
        if not isinstance(operator, ConeBeamCT):
            raise TypeError(f"{self.kind}: operator is {operator}, expected ConeBeamCT; use a classical baseline")

    @abstractmethod
    def image(self, operator: Any, measurements: Tensor) -> Tensor:
        """The image, `operator.in_shape`, of checked measurements; called without gradients, in evaluation mode."""
