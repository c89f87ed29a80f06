"""How data of the CPU go to a GPU and come back while it computes on what went before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

import torch
from torch import Tensor

AHEAD = 2  # pieces on the GPU: one is computed with while the next arrives


class Ferry:
    """Pieces there and results back, on a stream of their own beside that of the computations.

    The CPU waits for every transfer, so that its memory may be reused at once; meanwhile the GPU works off what was
    queued before. So a result is fetched only when the computations of the next one are queued, and the last one when
    the block ends.

        with Ferry("cuda") as ferry:
            for pieces, into in ...:
                ferry.back(sum(compute(piece) for piece in ferry.there(pieces)), into)

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._crossing = torch.cuda.Stream(self.device)
        self._computed: deque[torch.cuda.Event] = deque()
        self._due: tuple[torch.cuda.Event, Tensor, Tensor] | None = None

    def __enter__(self) -> Ferry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._fetch()

    def there(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Each on the GPU; what is queued with it before the next is asked for is its computation."""
        for piece in pieces:
            if len(self._computed) == AHEAD:
                self._computed.popleft().synchronize()
            with torch.cuda.stream(self._crossing):
                arrived = piece.to(self.device)
            computing = torch.cuda.current_stream(self.device)
            # Its memory belongs to the stream of transfers, which must not take it back before it was read.
            arrived.record_stream(computing)
            yield arrived
            self._computed.append(computing.record_event())

    def back(self, result: Tensor, into: Tensor) -> None:
        """Write what was computed, and is still to be fetched, to a tensor on the CPU."""
        computed = torch.cuda.current_stream(self.device).record_event()
        self._fetch()
        self._due = computed, result, into

    def _fetch(self) -> None:
        if self._due is None:
            return
        computed, result, into = self._due
        self._due = None
        self._crossing.wait_event(computed)
        with torch.cuda.stream(self._crossing):
            into.copy_(result)
