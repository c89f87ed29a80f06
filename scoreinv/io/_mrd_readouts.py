"""Acquisitions of an ISMRMRD file: what they are for, and their samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024  # readouts read at a time
_GAP = 16  # readouts between two wanted ones that are read along: reading them one by one takes longer


@dataclass(frozen=True, eq=False)
class Readout:
    """One acquisition: its number in the file, header, samples (coils, samples), coordinates (samples, d)."""

    number: int
    head: Any
    data: NDArray[np.complex64]
    trajectory: NDArray[np.float32]

    @property
    def reverse(self) -> bool:
        """Whether the samples run towards smaller x."""
        import ismrmrd

        return bool(int(self.head["flags"]) & 1 << (ismrmrd.ACQ_IS_REVERSE - 1))


def read_heads(data: Any) -> NDArray[Any]:
    """The headers of all acquisitions, without their samples."""
    names = data.dtype.names or ()
    if not {"head", "data", "traj"} <= set(names) or data.ndim != 1 or not len(data):
        raise ValueError(f"{data.name} has fields {names} of shape {data.shape}, expected ISMRMRD acquisitions")
    heads: NDArray[Any] = data.fields("head")[:]
    return heads


def kinds(heads: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    """Which acquisitions are "noise", "calibration" and "image"; a line can be both of the last two."""
    import ismrmrd

    def flagged(*names: str) -> NDArray[np.bool_]:
        bits = sum(1 << (getattr(ismrmrd, f"ACQ_{name}") - 1) for name in names)
        found: NDArray[np.bool_] = (heads["flags"] & np.uint64(bits)) != 0
        return found

    noise = flagged("IS_NOISE_MEASUREMENT")
    other = noise | flagged(
        *("IS_NAVIGATION_DATA", "IS_PHASECORR_DATA", "IS_HPFEEDBACK_DATA", "IS_DUMMYSCAN_DATA", "IS_RTFEEDBACK_DATA"),
        *("IS_SURFACECOILCORRECTIONSCAN_DATA", "IS_PHASE_STABILIZATION_REFERENCE", "IS_PHASE_STABILIZATION"),
    )
    both = flagged("IS_PARALLEL_CALIBRATION_AND_IMAGING")
    calibration = flagged("IS_PARALLEL_CALIBRATION") | both
    return {"noise": noise, "calibration": calibration & ~other, "image": ~other & (~calibration | both)}


def read(data: Any, heads: NDArray[Any], numbers: NDArray[np.intp]) -> list[Readout]:
    """These acquisitions, numbers ascending, a block of the file at a time.

    Raises:
        ValueError: for NaN, or samples that are not as many as the header says.
    """
    readouts: list[Readout] = []
    wanted = set(numbers.tolist())
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > _GAP) + 1) if len(numbers) else []
    for run in runs:
        for start in range(int(run[0]), int(run[-1]) + 1, _BLOCK):
            rows = data[start : min(start + _BLOCK, int(run[-1]) + 1)]
            readouts += [_readout(n, heads[n], row) for n, row in enumerate(rows, start) if n in wanted]
    bad = [r.number for r in readouts if not (np.isfinite(r.data).all() and np.isfinite(r.trajectory).all())]
    if bad:
        raise ValueError(f"NaN or Inf in acquisition {bad[0]} and {len(bad) - 1} more; export or measure it again")
    return readouts


def _readout(number: int, head: Any, row: Any) -> Readout:
    coils, samples = int(head["active_channels"]), int(head["number_of_samples"])
    dimensions = int(head["trajectory_dimensions"])
    stored, trajectory = np.asarray(row["data"]), np.asarray(row["traj"])
    if stored.size != 2 * coils * samples or trajectory.size != samples * dimensions:
        raise ValueError(
            f"acquisition {number} holds {stored.size} and {trajectory.size} numbers of data and trajectory, expected "
            f"{2 * coils * samples} and {samples * dimensions} by its header; export the file again"
        )
    pre, post = int(head["discard_pre"]), int(head["discard_post"])
    kept = slice(pre, samples - post)
    values = stored.astype("<f4", copy=False).view(np.complex64).reshape(coils, samples)
    return Readout(number, head, values[:, kept], trajectory.reshape(samples, dimensions)[kept])


def check_coils(readouts: Sequence[Readout], coils: int) -> None:
    """ValueError unless all readouts have as many coils."""
    for readout in readouts:
        if len(readout.data) != coils:
            raise ValueError(
                f"acquisition {readout.number} has {len(readout.data)} coils, the first line {coils}; select images "
                "or an encoding of equal coils"
            )
