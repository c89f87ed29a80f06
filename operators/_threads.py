"""How compiled kernels share the processor: Python threads do pieces of work, since the kernels release the GIL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

LEAST = 1 << 18  # steps of a kernel, a millisecond or less: what is less is not worth a thread


def parts(work: int, each: int) -> int:
    """Into how many parts to cut so many steps of a kernel: `each` a thread, or fewer where these would be small."""
    return max(1, min(each * torch.get_num_threads(), work // LEAST))


def slabs_of(work: int) -> int:
    """Into how many slabs to cut an image for an adjoint: few, since every slab goes through all rays.

    Those at the rim have less to do, so two a thread share it better; but two threads have a half each.
    """
    return parts(work, 1 if torch.get_num_threads() <= 2 else 2)


def pieces(total: int, number: int, multiple: int = 1) -> list[tuple[int, int]]:
    """[0, total) cut into at most `number` pieces, their sizes multiples of `multiple`."""
    size = multiple * max(1, math.ceil(total / (number * multiple)))
    return [(begin, min(begin + size, total)) for begin in range(0, total, size)]


def zeros(like: Tensor, *shape: int) -> Tensor:
    """Of its dtype, on its device.

    On the CPU not by torch: its own threads would wait for more work for a while, on the cores that kernels want next.
    """
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    return torch.from_numpy(np.zeros(shape, torch.zeros((), dtype=like.dtype).numpy().dtype))


def run(task: Callable[..., None], arguments: Iterable[tuple[int, ...]]) -> None:
    """Do all tasks on torch's number of threads. The pool lives for one call: nothing to break in a forked child."""
    tasks = list(arguments)
    if len(tasks) == 1 or torch.get_num_threads() == 1:
        for values in tasks:
            task(*values)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for done in [pool.submit(task, *values) for values in tasks]:
            done.result()
