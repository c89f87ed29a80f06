"""How compiled kernels share the processor: Python threads do pieces of work, since the kernels release the GIL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch

LEAST = 1 << 18  # steps of a kernel, a millisecond or less: what is less is not worth a thread


def parts(work: int, each: int) -> int:
    """Into how many parts to cut so many steps of a kernel: `each` a thread, or fewer where these would be small."""
    return max(1, min(each * torch.get_num_threads(), work // LEAST))


def pieces(total: int, number: int, multiple: int = 1) -> list[tuple[int, int]]:
    """[0, total) cut into at most `number` pieces, their sizes multiples of `multiple`."""
    size = multiple * max(1, math.ceil(total / (number * multiple)))
    return [(begin, min(begin + size, total)) for begin in range(0, total, size)]


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
