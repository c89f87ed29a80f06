"""Which cases of a batch are a process's own: of a shard of a Slurm array, or of a rank of `accelerate launch`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from scoreinv.batch.case import Outcome
from scoreinv.config import BatchCase

PATIENCE = 0.05  # s, between looks at whether the others are done


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
    import torch
    from accelerate import PartialState

    # Ranks exchange outcomes alone, which live on the CPU; they wait for each other as long as cases last.
    state = PartialState(cpu=True, timeout=timedelta(days=365))
    if torch.cuda.is_available():  # what a run calls "cuda"
        torch.cuda.set_device(state.local_process_index % torch.cuda.device_count())
    return Share(state.process_index, state.num_processes)


def gathered(part: Share, own: list[Outcome]) -> list[Outcome]:
    """Outcomes of all ranks, once all are done: a launcher stops the others when one ends with a failure."""
    if part.of == 1:
        return own
    import torch.distributed
    from accelerate.utils import gather_object

    # Not in one blocking call, in which no signal would be heard.
    done = torch.distributed.barrier(async_op=True)
    while done is not None and not done.is_completed():
        time.sleep(PATIENCE)
    outcomes: list[Outcome] = gather_object(own)
    return outcomes
