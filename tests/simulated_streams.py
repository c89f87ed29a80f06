"""Streams of a GPU that is not there: what was queued where, and what must be done before it.

Nothing is put off, as tensors are the CPU's; but of every piece of work is known which others are over when it begins,
by the order of its stream, by events and by what the CPU has waited for. Work that is not known to be over may still
run: that is what overlaps.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import torch


class Streams:
    """In place of torch's, as long as the patch is in force.

    Attributes:
        begun: by the name of every piece of work, in the order of queueing, those over when it begins.
        read: tensors by the streams that said they read them.
    """

    def __init__(self, monkeypatch):
        self.begun, self.read = {}, []
        self._host, self.computing = set(), set()
        self._current = self.computing
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        going, coming = self._stream(set()), self._stream(set())
        monkeypatch.setattr("scoreinv.operators._ferry.streams", lambda index: (going, coming))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self._stream(self._current))
        monkeypatch.setattr(torch.cuda, "stream", self._inside)
        monkeypatch.setattr("scoreinv.operators._ferry.page_locked", lambda x: torch.empty(x.shape, dtype=x.dtype))
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda x, stream: self.read.append((x, stream.over)))

    def queue(self, name):
        """Work on the current stream."""
        self.begun[name] = self._current | self._host
        self._current |= self.begun[name] | {name}

    def do(self, name):
        """Work of the CPU."""
        self.begun[name] = set(self._host)
        self._host.add(name)

    def _stream(self, over):
        def record_event():
            reached = set(over)
            return SimpleNamespace(reached=reached, synchronize=lambda: self._host.update(reached))

        return SimpleNamespace(over=over, record_event=record_event, wait_stream=lambda other: over.update(other.over))

    @contextmanager
    def _inside(self, stream):
        before, self._current = self._current, stream.over
        yield
        self._current = before
