"""Samples kept one by one, so that what was computed before a run was killed need not be computed again.

A sample is one safetensors file, `000003.safetensors`: the image as it is, bit by bit, with what happened in its steps.
Files are whole or absent, and carry the key of what they were made from: a sample under another key is not there.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scoreinv.io.atomic import atomic_path
from scoreinv.samplers import Step

FORMAT = "scoreinv-sample"
Found = TypeVar("Found")


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        image: `operator.in_shape`, unit of the operator's image.
        steps: of the group it was drawn in; only the group's first sample has them, so that seconds add up.
    """

    image: Tensor
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class SampleStore:
    """A folder of samples of one posterior.

    Args:
        folder: made when the first sample is written.
        key: of data, weights and settings, whatever a sample depends on but its number.
        writing: what every write happens within, such as a block that a signal waits for.
        written: told the number of every sample once it is there.
    """

    folder: Path
    key: str
    writing: Callable[[], AbstractContextManager[None]] = nullcontext
    written: Callable[[int], None] = lambda number: None

    def __contains__(self, number: int) -> bool:
        return self._opened(number, lambda file, record: True) or False

    def numbers(self) -> list[int]:
        """Of the samples that are there, ascending."""
        found = sorted(int(path.stem) for path in self.folder.glob("[0-9]*.safetensors") if path.stem.isdigit())
        return [number for number in found if number in self]

    def seconds(self) -> float:
        """Spent on the samples that are there."""
        steps = (self._opened(number, lambda file, record: _steps(record)) or () for number in self.numbers())
        return sum(step.network + step.operator + step.rest for step in itertools.chain.from_iterable(steps))

    def read(self, number: int, device: torch.device | str = "cpu") -> Sample | None:
        """A sample; None where it is absent, damaged or made from something else."""

        def sample(file: Any, record: dict[str, str]) -> Sample:
            image = file.get_tensor("image").to(device)
            return Sample(torch.view_as_complex(image) if record["complex"] == "true" else image, _steps(record))

        return self._opened(number, sample)

    def rows(self, number: int, start: int, stop: int) -> Tensor:
        """Part of a sample along its first axis, of which no more is read.

        Raises:
            KeyError: if the sample is not there.
        """

        def part(file: Any, record: dict[str, str]) -> Tensor:
            values: Tensor = file.get_slice("image")[start:stop]
            return torch.view_as_complex(values) if record["complex"] == "true" else values

        found = self._opened(number, part)
        if found is None:
            raise KeyError(f"SampleStore: no sample {number} in {self.folder}; expected one of {self.numbers()}")
        return found

    def _opened(self, number: int, look: Callable[[Any, dict[str, str]], Found]) -> Found | None:
        """What is found in a whole file of this key; of the image only what is looked at is read."""
        try:
            with safe_open(self._path(number), "pt") as file:
                record = file.metadata() or {}
                if record.get("format") != FORMAT or record.get("key") != self.key:
                    return None
                return look(file, record)
        except (FileNotFoundError, SafetensorError):
            return None

    def write(self, number: int, image: Tensor, steps: Sequence[Step] = ()) -> None:
        """Keep a sample, whole or not at all; one under the same number is replaced.

        Raises:
            OSError: if it cannot be written, such as to a full disk.
        """
        image = image.detach().cpu().contiguous()
        record = {
            "format": FORMAT,
            "key": self.key,
            "complex": "true" if image.is_complex() else "false",
            "steps": json.dumps([dataclasses.asdict(step) for step in steps]),
        }
        with self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._path(number)) as temporary:
                try:
                    save_file({"image": torch.view_as_real(image) if image.is_complex() else image}, temporary, record)
                except SafetensorError as error:  # its name for a full disk
                    raise OSError(f"{self._path(number)}: cannot be written ({error})") from None
        self.written(number)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"


def _steps(record: dict[str, str]) -> tuple[Step, ...]:
    return tuple(Step(**step | {"misfit": tuple(step["misfit"])}) for step in json.loads(record["steps"]))
