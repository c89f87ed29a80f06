"""How compiled kernels meet torch on an NVIDIA GPU: they share its memory and follow its stream.

In numba's simulator (NUMBA_ENABLE_CUDASIM=1) the memory of the GPU is the CPU's, and threads are Python's.
"""

from typing import Any

import numpy as np
import torch
from numba import config, cuda
from torch import Tensor

THREADS = 128  # a block
MOST = 65535  # blocks along the second axis of a launch

config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small scan is no mistake


def array(tensor: Tensor) -> Any:
    """A contiguous tensor as kernels take it, without a copy."""
    return tensor.numpy() if config.ENABLE_CUDASIM else cuda.as_cuda_array(tensor, sync=False)


def launch(kernel: Any, threads: int, items: int, device: torch.device, *arguments: Any) -> None:
    """Start so many threads a batch item; a kernel takes items blockIdx.y, blockIdx.y + gridDim.y, ..."""
    if not threads or not items:
        return
    blocks = (-(-threads // THREADS), min(items, MOST))
    if config.ENABLE_CUDASIM:
        kernel[blocks, THREADS](*arguments)
        return
    with cuda.gpus[device.index]:
        stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)
        kernel[blocks, THREADS, stream](*arguments)


@cuda.jit(device=True)
def take(images, p, inside):  # type: ignore[no-untyped-def]
    """A voxel of flat images; outside of them there are zeros."""
    return images[p] if inside else np.float32(0)


@cuda.jit(device=True)
def give(images, p, inside, value):  # type: ignore[no-untyped-def]
    """The transpose of `take`, for threads that may meet in one voxel."""
    if inside:
        cuda.atomic.add(images, p, value)
