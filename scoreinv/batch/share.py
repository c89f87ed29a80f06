"""Which cases of a batch are a process's own: of a shard of a Slurm array, or of a rank of `accelerate launch`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from scoreinv.config import BatchCase


@dataclass(frozen=True)
class Share:
    """Every n-th case from the i-th on, counted from 0."""

    index: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """Of `i/n`, i from 0 to n - 1. Raises ValueError."""
        index, separator, of = text.partition("/")
        if not (separator and index.isdecimal() and of.isdecimal() and int(index) < int(of)):
            raise ValueError(f"--shard: got {text!r}, expected i/n with i from 0 to n - 1, such as 0/4")
        return cls(int(index), int(of))

    def take(self, cases: Sequence[BatchCase]) -> list[BatchCase]:
        return list(cases[self.index :: self.of])

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


def rank() -> Share:
    """The process's rank under `accelerate launch`; the whole anywhere else."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Share()
    from accelerate import PartialState

    state = PartialState()
    return Share(state.process_index, state.num_processes)
