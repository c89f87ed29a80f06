"""The course of a training run, for eyes and for plots."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np


class Meter:
    """A progress bar, and a line of JSON every hundred steps; silent without a path."""

    def __init__(self, path: Path | None, total: int, progress: bool) -> None:
        from tqdm import tqdm

        self.path, self.since = path, time.perf_counter()
        self.losses: list[float] = []
        self.bar = tqdm(total=total, desc="train", unit="step", disable=not progress or path is None)

    def tick(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        self.bar.update(step - self.bar.n)
        if step % 100 == 0:
            mean, self.losses = float(np.mean(self.losses)), []
            self.bar.set_postfix(loss=f"{mean:.4f}")
            seconds, self.since = time.perf_counter() - self.since, time.perf_counter()
            if self.path is None:
                return
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, "loss": mean, "seconds": seconds}) + "\n")
