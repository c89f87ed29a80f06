"""How data of the CPU go to a GPU and come back while it computes on what went before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from types import TracebackType

import torch
from torch import Tensor

AHEAD = 2  # pieces on the GPU: one is computed with while the next arrives


class Ferry:
    """Pieces there and results back, on streams of their own beside that of the computations.

    Both go through page-locked memory, which the GPU reads and writes by itself: the CPU only copies, while the GPU
    works off what was queued before. So a result is written when those of the next are queued, and the last one when
    the block ends without an error.

        with Ferry("cuda") as ferry:
            for pieces, into in ...:
                ferry.back(sum(compute(piece) for piece in ferry.there(pieces)), into)

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        index = torch.cuda.current_device() if self.device.index is None else self.device.index
        self._going, self._coming = streams(index)
        self._computed: deque[torch.cuda.Event] = deque()
        self._due: tuple[torch.cuda.Event, Tensor, Tensor, Tensor] | None = None

    def __enter__(self) -> Ferry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._write()

    def there(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Each on the GPU; what is queued with it before the next is asked for is its computation."""
        for piece in pieces:
            locked = page_locked(piece).copy_(piece)
            if len(self._computed) == AHEAD:
                self._computed.popleft().synchronize()
            computing = torch.cuda.current_stream(self.device)
            with torch.cuda.stream(self._going):
                arrived = locked.to(self.device, non_blocking=True)
            computing.wait_stream(self._going)
            # Its memory belongs to the stream that brought it, which must not take it back before it was read.
            arrived.record_stream(computing)
            yield arrived
            self._computed.append(computing.record_event())

    def back(self, result: Tensor, into: Tensor) -> None:
        """Write what was computed, and still may be, to a tensor on the CPU."""
        locked = page_locked(result)
        self._coming.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._coming):
            locked.copy_(result, non_blocking=True)
        self._write()
        # The result is kept until it was read.
        self._due = self._coming.record_event(), result, locked, into

    def _write(self) -> None:
        if self._due is not None:
            arrived, _, locked, into = self._due
            self._due = None
            arrived.synchronize()
            into.copy_(locked)


@cache
def streams(index: int) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    """Of this GPU, there and back, made once: what memory a stream gives back, torch keeps for that stream."""
    return torch.cuda.Stream(index), torch.cuda.Stream(index)


def page_locked(like: Tensor) -> Tensor:
    """Memory of the CPU for such a tensor; torch keeps what is given back, and not before transfers are over."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)
