"""DeepSparse: sparse-view cone-beam CT by a network that is pretrained on any number of views.

`DiCE` is the network; it reconstructs (`scoreinv.baselines.networks.reconstruct`) once it was trained, by
`scoreinv train configs/deepsparse/pretrain.yaml` and its two successors, or by others (`import_published`).
"""

from scoreinv.baselines.deepsparse.network import DiCE
from scoreinv.baselines.deepsparse.published import import_published
from scoreinv.baselines.deepsparse.views import hybrid_views, spread

__all__ = ["DiCE", "hybrid_views", "import_published", "spread"]
