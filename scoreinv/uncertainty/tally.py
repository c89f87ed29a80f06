"""What is remembered of samples that are seen once and forgotten, so that more of them can follow another day."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from scoreinv.io.atomic import atomic_path
from scoreinv.samplers import Step
from scoreinv.uncertainty.moments import Moments
from scoreinv.uncertainty.null_space import Split

FORMAT = "scoreinv-tally-2"


@dataclass
class Tally:
    """Memory for a few images, whatever the number of samples; on the CPU, wherever these are drawn.

    Attributes:
        moments: of the samples.
        measured, unmeasured: of their two parts; of no images where these were not asked for.
        above: (thresholds, *image), how many samples are above each; None before the first sample.
        rows: a few numbers of every sample, by name.
        steps: that led to the samples.
    """

    moments: Moments = field(default_factory=Moments)
    measured: Moments = field(default_factory=Moments)
    unmeasured: Moments = field(default_factory=Moments)
    above: Tensor | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many samples were added."""
        return self.moments.count

    def add(
        self,
        image: Tensor,
        above: Tensor,
        row: dict[str, float],
        steps: Sequence[Step] = (),
        parts: Split | None = None,
    ) -> None:
        """Take another sample.

        Args:
            image: (*image).
            above: (thresholds, *image) bool.
            row: its numbers.
            steps: that its group took, with the first sample of the group.
            parts: what the scanner sees of it, and the rest.
        """
        self.moments.add(image.cpu())
        if parts is not None:
            self.measured.add(parts.measured.cpu())
            self.unmeasured.add(parts.unmeasured.cpu())
        counts = above.to("cpu", torch.int32)
        self.above = counts if self.above is None else self.above + counts
        self.rows.append(row)
        self.steps.extend(steps)

    @property
    def measured_share(self) -> float | None:
        """How much of the samples' variance the scanner sees; None where that was not asked for.

        Raises:
            ValueError: of fewer than two samples.
        """
        if self.measured.count == 0:
            return None
        seen, rest = (float(part.std.square().sum()) for part in (self.measured, self.unmeasured))
        return seen / (seen + rest) if seen + rest > 0 else 0.0

    def save(self, path: Path, key: str) -> None:
        """Write it, whole or not at all, with the key of what the samples and their numbers depend on.

        Raises:
            OSError: if it cannot be written, such as to a full disk.
        """
        state = {
            "format": FORMAT,
            "key": key,
            "moments": [part.state for part in (self.moments, self.measured, self.unmeasured)],
            "above": self.above,
            "rows": self.rows,
            "steps": [dataclasses.asdict(step) for step in self.steps],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through memory: of a full disk torch itself says that a position was unexpected.
        whole = io.BytesIO()
        torch.save(state, whole)
        with atomic_path(path) as temporary:
            temporary.write_bytes(whole.getbuffer())

    @classmethod
    def load(cls, path: Path, key: str) -> Tally | None:
        """What was written under a key; None where it is absent, damaged or of something else."""
        try:
            state = torch.load(path, weights_only=True)
        except (FileNotFoundError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        if not isinstance(state, dict) or (state.get("format"), state.get("key")) != (FORMAT, key):
            return None
        moments, measured, unmeasured = (Moments.of(part) for part in state["moments"])
        steps = [Step(**step) for step in state["steps"]]
        return cls(moments, measured, unmeasured, state["above"], state["rows"], steps)
