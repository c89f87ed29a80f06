"""DeepSparse: sparse-view cone-beam CT by a network that is pretrained on any number of views.

`DiCE` is the network, `deepsparse` reconstructs with one that was trained (`load_deepsparse`, or `import_published` for
the weights of the original code); `scoreinv train configs/deepsparse/pretrain.yaml` and its two successors train one.
"""

from scoreinv.baselines.deepsparse.network import DiCE
from scoreinv.baselines.deepsparse.published import import_published
from scoreinv.baselines.deepsparse.reconstruct import deepsparse
from scoreinv.baselines.deepsparse.storage import load_deepsparse, save_deepsparse
from scoreinv.baselines.deepsparse.training_scans import TrainingScans
from scoreinv.baselines.deepsparse.views import hybrid_views

__all__ = [
    "DiCE",
    "TrainingScans",
    "deepsparse",
    "hybrid_views",
    "import_published",
    "load_deepsparse",
    "save_deepsparse",
]
