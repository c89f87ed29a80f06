"""The published weights of DeepSparse, from the original code's `.pth` files.

The original keeps volumes as (x, y, z) and detector rows from top to bottom, here they are (z, y, x) and rise along
+z. So 3D kernels are transposed and 2D kernels flipped along v; what a flipped image gives is then the flipped answer.
Only the position of samples differs: the original is up to half a pixel off at the rims (see `learned.points`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from scoreinv.baselines.deepsparse.network import DiCE
from scoreinv.baselines.learned.training_scans import TrainingScans

# Pattern of the original's names -> names of DiCE.
_NAMES = (
    (r"encoder\.encoder\.stem\.conv\.", r"stem."),
    (r"encoder\.encoder\.layers\.(\d+)\.0\.layer\.", r"encoder.\1.0."),
    (r"encoder\.encoder\.layers\.(\d+)\.1\.pre_conv\.", r"encoder.\1.1.0."),
    (r"encoder\.encoder\.layers\.(\d+)\.1\.layers\.0\.conv\.", r"encoder.\1.1.1.branch."),
    (r"cb\.(\d+)\.pre_quant\.", r"quantisers.\1.before."),
    (r"cb\.(\d+)\.post_quant\.", r"quantisers.\1.after."),
    (r"cb\.(\d+)\.codebook\.embedding\.weight", r"quantisers.\1.codebook.codes"),
    (r"cb\.(\d+)\.codebook\.embedding\.embed_avg", r"quantisers.\1.codebook.sums"),
    (r"cb\.(\d+)\.codebook\.embedding\.cluster_size", r"quantisers.\1.codebook.sizes"),
    (r"denoise_layers\.(\d+)\.layers\.(\d+)\.conv\.", r"denoisers.\1.\2.branch."),
    (r"decoders\.(\d+)\.pre_conv\.", r"decoders.\1.0."),
    (r"decoders\.0\.layers\.(\d+)\.conv\.", r"decoders.0.\1.branch."),
    (r"point_decoder\.mlps\.(\d+)\.", r"point_decoder.\1."),
)
# The scans of the published training: 800/1200 mm, 256^2 pixels of 2.4 mm, 256^3 voxels of 1.6 mm, half a turn.
_SCANS = TrainingScans((6, 24), 800.0, 1200.0, (614.4, 614.4), (0.0, 0.0), (409.6, 409.6, 409.6), torch.pi)


def import_published(path: str | os.PathLike[str]) -> DiCE:
    """DiCE with the weights of a `.pth` file of the original code (`model_v7`, base encoder).

    Files from before the last training step have no denoising layers; the network then does not use its own.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or of another network; the message names the first weight that differs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"import_published: no file {path}, expected a .pth of DeepSparse")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError) as error:
        raise ValueError(f"import_published: {path} is damaged or no .pth ({type(error).__name__})") from error
    return from_published(state, str(path))


def from_published(state: Mapping[str, Tensor], source: str = "state") -> DiCE:
    """As `import_published`, from the weights by the original's names."""
    denoise = any(key.startswith("denoise_layers.") for key in state)
    network = DiCE(denoise=denoise)
    network.trained_on = _SCANS
    found = {renamed(key): turned(value) for key, value in state.items()}
    expected = network.state_dict()
    if not denoise:
        found |= {key: value for key, value in expected.items() if key.startswith("denoisers.")}
    for key in sorted(found.keys() | expected.keys()):
        shapes = [tuple(tree[key].shape) if key in tree else None for tree in (found, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"import_published: {source} has {key} of shape {shapes[0]}, DiCE {shapes[1]}; expected the published "
                "model_v7 with its base encoder"
            )
    network.load_state_dict(found)
    return network.eval()


def renamed(key: str) -> str:
    """The name in DiCE of a weight of the original; others as they are."""
    if deeper := re.match(r"decoders\.([1-9]\d*)\.layers\.(\d+)\.conv\.", key):
        # Behind the first convolution, which the coarsest scale does not have.
        return f"decoders.{deeper[1]}.{int(deeper[2]) + 1}.branch.{key[deeper.end() :]}"
    for pattern, replacement in _NAMES:
        if re.match(pattern, key):
            return re.sub(pattern, replacement, key, count=1)
    return key


def turned(value: Tensor) -> Tensor:
    """A kernel of the original in this package's axes."""
    if value.ndim == 5:
        return value.permute(0, 1, 4, 3, 2).contiguous()
    return value.flip(2) if value.ndim == 4 else value
