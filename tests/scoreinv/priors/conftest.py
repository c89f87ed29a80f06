"""Golden outputs of the original networks, for weights that a seed makes.

`golden/networks.npz` holds, for small configurations, the names and shapes of the original's state dict in its own
order (JSON as bytes) and what the original answers with the weights below to the image below. The originals are
`NCSNpp` of HJ-harry/score-MRI at 8359aae (Apache-2.0; its resampling in the pure PyTorch form that it has for the CPU)
and `UNetModel` of openai/guided-diffusion at 22e0df8 (MIT). No code of theirs is here, and none is needed.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent / "golden" / "networks.npz"


def weights(layout, seed):
    """Weights of unit gain for a state dict {name: shape}, in the order of its names."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in layout.items():
        values = torch.randn(shape, generator=generator)
        if name == "all_modules.0.W":
            values = 16 * values
        elif len(shape) == 1:
            values = 0.1 * values + (1 if name.endswith("weight") else 0)
        else:
            # Network-in-network layers are (in, out), all others (out, in, ...).
            fan_in = shape[0] if name.endswith(".W") else int(np.prod(shape[1:]))
            values = values / fan_in**0.5
        state[name] = values
    return state


@pytest.fixture(scope="session")
def golden():
    """golden(name) -> (layout {name: shape} of the original, its output)."""
    with np.load(GOLDEN) as file:
        content = dict(file)

    def get(name):
        layout = dict(json.loads(content[f"{name}.layout"].tobytes()))
        return layout, torch.from_numpy(content[f"{name}.output"])

    return get


@pytest.fixture(scope="session")
def original_weights(golden):
    """original_weights(name, seed=1) -> a state dict of the original; without its buffer of noise levels."""

    def get(name, seed=1):
        layout, _ = golden(name)
        return weights({key: shape for key, shape in layout.items() if key != "sigmas"}, seed)

    return get


@pytest.fixture(scope="session")
def image():
    """image(batch, channels, y, x) -> the input of the golden outputs."""
    return lambda *shape: torch.rand(shape, generator=torch.Generator().manual_seed(3))
