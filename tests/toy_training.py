"""Small training runs of learned networks that tests share."""

from scoreinv.config import resolve
from scoreinv.training.learned import MODELS, train_network

DATA = {
    "phantoms": {
        "number": 2,
        "shape": [16, 16, 16],
        "voxel_size": [25.6, 25.6, 25.6],
        "scan": {"detector_shape": [16, 16], "pixel_size": [38.4, 38.4], "views": 20},
    },
    "validation": 1,
}
RUN = {"data": DATA, "views": [4, 6], "steps": 4, "batch": 2, "checkpoint_every": 2}
TINY = {
    "deepsparse": {
        "stage": "pretrain",
        "all_views": 8,
        "points": 40,
        "network": {"channels": 4, "scales": 2, "decoder": 8, "lattice": 4, "codes": 16, "hidden": [8]},
        "learning_rate": 1e-3,
    },
    "dif_net": {"points": 40, "network": {"width": 4, "levels": 2, "features": 6, "hidden": [8]}},
    "fbpconvnet": {"slices": 3, "network": {"width": 4, "levels": 2}},
    "unrolled": {"network": {"iterations": 2, "gradients": 2, "width": 2, "levels": 2}},
}


def tree(model):
    return RUN | {"model": model} | TINY[model]


def training(model, *overrides):
    return resolve(MODELS[model], tree(model), overrides)


def fit(out, model, *overrides):
    return train_network(training(model, *overrides), out, progress=False)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(before, after):
    """First parts of the names of weights that differ."""
    return {name.partition(".")[0] for name, value in after.items() if not value.equal(before[name])}
