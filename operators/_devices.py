"""Where line integrals are computed: on the CPU or an NVIDIA GPU by kernels of our own, or by parallelproj."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache

import torch

log = logging.getLogger("scoreinv")

# Where a backend of CT and PET takes its data; None means anywhere.
DEVICES = {"auto": None, "numba": "cpu", "cuda": "cuda", "streamed": "cpu", "parallelproj": None}


def device_of(name: str, backend: str) -> str | None:
    """The only device that this backend of the operator `name` takes data on.

    Raises:
        ImportError: for "cuda" and "streamed" without numba-cuda.
        RuntimeError: for "cuda" and "streamed" without a GPU.
    """
    if backend in ("cuda", "streamed"):
        if not torch.cuda.is_available():
            raise RuntimeError(
                f"{name}: backend '{backend}' needs an NVIDIA GPU, and torch {torch.__version__} finds none; 'numba' "
                "runs on the CPU"
            )
        _check_compiler(name, torch.device("cuda"))
    return DEVICES[backend]


def on_gpu(name: str, device: torch.device) -> bool:
    """Whether data on this device are for the kernels of the GPU.

    Raises:
        ImportError: if they are, without numba-cuda.
        ValueError: if there are kernels for no such device.
    """
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name}: data are on {device}, expected cpu or cuda; move them with .to('cpu')")
    if device.type == "cuda":
        _check_compiler(name, device)
    _say(name, device)
    return device.type == "cuda"


@cache
def _say(name: str, device: torch.device) -> None:
    """Once, where it computes."""
    log.debug("%s: numba's kernels on %s", name, device)


def _check_compiler(name: str, device: torch.device) -> None:
    if not _has_compiler():
        raise ImportError(
            f"{name}: data on {device} need numba-cuda: pip install 'scoreinv[cuda]'; or move them to the CPU with "
            ".to('cpu')"
        )


@cache
def _has_compiler() -> bool:
    return importlib.util.find_spec("numba_cuda") is not None
