"""Networks by name and arguments, as they stand in a prior's `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from scoreinv._torchvision import declare_missing_operators


def build_network(arguments: Mapping[str, Any], architecture: str = "unet2d") -> nn.Module:
    """An untrained network.

    Args:
        arguments: of its constructor, plain JSON.
        architecture: "unet2d" (diffusers' `UNet2DModel`) or "ncsnpp" (`NCSNpp`).

    Raises:
        ValueError: if there is no such architecture.
    """
    # Imported here because diffusers is slow to import.
    if architecture == "ncsnpp":
        from scoreinv.priors.ncsnpp import NCSNpp

        return NCSNpp(**arguments)
    if architecture == "unet2d":
        declare_missing_operators()
        from diffusers import UNet2DModel

        network: nn.Module = UNet2DModel(**arguments)
        return network
    raise ValueError(f"build_network: architecture is {architecture!r}, expected 'unet2d' or 'ncsnpp'")


def multiple_of(arguments: Mapping[str, Any], architecture: str = "unet2d") -> int:
    """What image sides must be divisible by: 2 for every level below the first."""
    levels = arguments.get("ch_mult", (1, 2, 2, 2)) if architecture == "ncsnpp" else arguments["block_out_channels"]
    return int(2 ** (len(levels) - 1))
