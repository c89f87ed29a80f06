"""Score networks of other projects: one door for the formats found in the wild.

| family | file | used by |
|---|---|---|
| diffusers | folder of `UNet2DModel.save_pretrained`, or of a DDPM or DDIM pipeline | DM4CT and most new work |
| adm | `.pt` state dict of guided-diffusion | DDS, D3IP, SCD |
| ncsnpp | `.pth` of score_sde, `{model, ema, step}` | score-MRI, DiffusionMBIR, MCG, TPDM |

A checkpoint is data here: files are read with `weights_only=True`, and one that needs code to be read (an EDM pickle, a
configuration object beside the weights) is refused.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scoreinv.priors.checkpoints.adm import read_adm
from scoreinv.priors.checkpoints.diffusers import read_diffusers
from scoreinv.priors.checkpoints.files import Checkpoint
from scoreinv.priors.checkpoints.ncsnpp import read_ncsnpp

__all__ = ["FAMILIES", "Checkpoint", "read_checkpoint"]

FAMILIES: dict[str, Callable[..., Checkpoint]] = {
    "diffusers": read_diffusers,
    "adm": read_adm,
    "ncsnpp": read_ncsnpp,
}


def read_checkpoint(path: str | os.PathLike[str], family: str, **arguments: Any) -> Checkpoint:
    """Read the network at `path`, every weight accounted for.

    Args:
        path: the folder ("diffusers") or file (the others).
        family: "diffusers", "adm" or "ncsnpp".
        arguments: what the file does not tell and differs from the published networks:
            diffusers: `scheduler`, if the folder has no scheduler_config.json;
            adm: `num_head_channels` (64) or `num_heads`, `use_new_attention_order` (False), `scheduler`, `layout`;
            ncsnpp: arguments of `NCSNpp`, mostly `scale_by_sigma` (True), `centered` (False), `skip_rescale` (True).

    Raises:
        FileNotFoundError: if there is nothing at `path`, or a part of it is missing.
        ValueError: for another family or argument, for files that need code to be read or hold something else, for
            networks that are not supported, and for weights that are missing, unknown or of another shape.
    """
    if family not in FAMILIES:
        raise ValueError(f"read_checkpoint: family is {family!r}, expected one of {list(FAMILIES)}")
    reader, path = FAMILIES[family], Path(path)
    if not path.exists():
        raise FileNotFoundError(f"read_checkpoint: there is nothing at {path}")
    parameters = inspect.signature(reader).parameters
    known = [name for name in parameters if name not in ("path", "arguments")]
    unknown = sorted(set(arguments) - set(known))
    if unknown and "arguments" not in parameters:
        raise ValueError(
            f"read_checkpoint: family {family!r} does not know {', '.join(unknown)}; it has {', '.join(known)}"
        )
    return reader(path, **arguments)
