"""Small learned networks and small scans that tests share."""

import numpy as np
import torch

from scoreinv.baselines.deepsparse import DiCE
from scoreinv.baselines.learned import DIFNet, FBPConvNet, Unrolled
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Volume

SMALL = {
    "deepsparse": (DiCE, {"channels": 4, "scales": 3, "decoder": 8, "lattice": 6, "codes": 16, "hidden": (8,)}),
    "dif_net": (DIFNet, {"width": 4, "levels": 3, "features": 6, "hidden": (8,)}),
    "pixelnerf": (DIFNet, {"width": 4, "levels": 3, "features": 6, "hidden": (8,), "pool": "mean"}),
    "fbpconvnet": (FBPConvNet, {"width": 4, "levels": 3}),
    "unrolled": (Unrolled, {"iterations": 2, "gradients": 3, "width": 4, "levels": 2, "scale": 0.04}),
}
_ANSWERS = {DiCE: "point_decoder.2.1.bias", DIFNet: "answer.bias"}


def small_network(name="deepsparse"):
    """Random weights and statistics, whose answers lie well within the window."""
    torch.manual_seed(0)
    cls, arguments = SMALL[name]
    network = cls(**arguments)
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point() and value.ndim == 1 and "codebook" not in key and key != "log_weights":
            value.add_(0.1 * torch.randn_like(value))
        if key == _ANSWERS.get(cls):
            value.fill_(0.5)
    return network.eval()


def scan(views=6, detector=(14, 18), voxels=(8, 10, 12), offset=(0.0, 0.0), distance=200.0):
    geometry = ConeBeamGeometry.circular(
        distance, 300.0, detector, (10.0, 8.0), np.arange(views) * np.pi / views, offset
    )
    return ConeBeamCT(geometry, Volume(voxels, (64.0 / voxels[0], 64.0 / voxels[1], 64.0 / voxels[2])))


def data(operator, seed=0):
    return torch.rand(operator.out_shape, generator=torch.Generator().manual_seed(seed))
