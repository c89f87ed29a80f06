"""A CUDA build of torchvision beside a CPU build of torch, made importable.

PyPI's torchvision for Linux is built for CUDA. Beside a CPU torch its compiled part does not load, its operators `nms`
and `qnms` are missing, and `import torchvision` ends in "operator torchvision::nms does not exist". That takes down
everything that imports torchvision if it finds it, diffusers and deepinv among them, though neither uses those two.
Declaring them (not implementing them: they sort bounding boxes of detectors) is enough for the import to pass.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import torch

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []


def declare_missing_operators() -> None:
    """Declare `nms` and `qnms` if torch has no CUDA and the torchvision at hand was built for it.

    Does nothing where torchvision is absent, already imported or fits torch: a torchvision whose compiled part loads
    declares them itself, and a second declaration would clash with it. Which build it is stands in its `version.py`,
    as "0.28.0+cu130"; the metadata of PyPI's wheels leaves that out.
    """
    if torch.version.cuda is not None or "torchvision" in sys.modules or hasattr(torch.ops.torchvision, "nms"):
        return
    spec = find_spec("torchvision")
    places = None if spec is None else spec.submodule_search_locations
    version = Path(next(iter(places)), "version.py") if places else None
    if version is None or not version.is_file() or "+cu" not in version.read_text():
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        library.define(name + _SCHEMA)
    # A declaration lives as long as its library object.
    _declared.append(library)
