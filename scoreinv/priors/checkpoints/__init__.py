"""Score networks of other projects, read without running their code."""

from scoreinv.priors.checkpoints.files import Checkpoint
from scoreinv.priors.checkpoints.importing import import_checkpoint
from scoreinv.priors.checkpoints.reader import FAMILIES, read_checkpoint

__all__ = ["FAMILIES", "Checkpoint", "import_checkpoint", "read_checkpoint"]
