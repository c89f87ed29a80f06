"""What was learned of a method's spread, and for which acquisition it holds.

calibration.json
    format       "scoreinv-calibration"
    version      1
    acquisition  what it holds for: plain values, compared one by one
    samples      per case; results of as many or more may be calibrated by it
    cases        {"calibration": n, "test": m}
    levels       claimed by the intervals, ascending
    factors      one a level: the interval is mean +- factor std
    before       on the test cases, with the factors of theory (`intervals.factor`); null without test cases
    after        likewise, with the learned factors
        coverage           one a level, mean over the cases
        calibration_error  mean |coverage - level|
        sharpness          mean width of 90 % intervals, unit of the image
        standard_error     of the coverage of 90 % intervals, over cases
    tarp         {"levels": [...], "coverage": [...], "p_value": p} of the samples as they are; null without test cases
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scoreinv.io.atomic import write_json
from scoreinv.uncertainty import tarp
from scoreinv.uncertainty.conformal import learned_factor, standard_error
from scoreinv.uncertainty.coverage import LEVELS, Observed, calibration_error, coverage, sharpness
from scoreinv.uncertainty.intervals import factor

log = logging.getLogger("scoreinv")
FORMAT, VERSION = "scoreinv-calibration", 1


@dataclass(frozen=True)
class Performance:
    """How intervals did on cases that taught them nothing; see the module."""

    coverage: list[float]
    calibration_error: float
    sharpness: float
    standard_error: float

    @classmethod
    def of(cls, cases: Sequence[Observed], levels: Sequence[float], factors: Sequence[float]) -> Performance:
        """With one factor a level; 0.9 is among the levels."""
        covered = coverage(cases, factors).mean(0).tolist()
        at_90 = factors[list(levels).index(0.9)]
        return cls(covered, calibration_error(levels, covered), sharpness(cases, at_90), standard_error(cases, at_90))


@dataclass(frozen=True)
class Calibration:
    """Learned factors with their record; attributes as in calibration.json."""

    acquisition: dict[str, Any]
    samples: int
    cases: dict[str, int]
    levels: list[float]
    factors: list[float]
    before: Performance | None = None
    after: Performance | None = None
    tarp: dict[str, Any] | None = None

    @classmethod
    def learn(
        cls, cases: Sequence[Observed], test: Sequence[Observed], acquisition: dict[str, Any], samples: int
    ) -> Calibration:
        """Factors from calibration cases, and what they do on test cases, which may be none."""
        levels = list(LEVELS)
        theory, factors = [factor(level, samples) for level in levels], [learned_factor(cases, p) for p in levels]
        numbers = {"calibration": len(cases), "test": len(test)}
        if len(test) < 2:
            return cls(acquisition, samples, numbers, levels, factors)
        shares = [case.closer for case in test]
        record = {"levels": levels, "coverage": tarp.expected_coverage(shares, levels, samples)}
        return cls(
            acquisition,
            samples,
            numbers,
            levels,
            factors,
            Performance.of(test, levels, theory),
            Performance.of(test, levels, factors),
            record | {"p_value": tarp.p_value(shares, samples)},
        )

    def factor(self, level: float) -> float:
        """Of one of the levels.

        Raises:
            ValueError: if it is not one of them.
        """
        if level not in self.levels:
            raise ValueError(f"Calibration: nothing was learned for {level}, expected one of {self.levels}")
        return self.factors[self.levels.index(level)]

    def holds_for(self, acquisition: dict[str, Any], samples: int) -> bool:
        """Whether results of this acquisition are calibrated by it."""
        return self.acquisition == json.loads(json.dumps(acquisition)) and samples >= self.samples

    def label(self) -> dict[str, Any]:
        """What a saved result says of its spread."""
        return {
            "acquisition": self.acquisition,
            "cases": self.cases,
            "factor_90": self.factor(0.9),
            "coverage_90": None if self.after is None else self.after.coverage[self.levels.index(0.9)],
        }

    def save(self, path: Path) -> None:
        """Write calibration.json, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT, "version": VERSION} | asdict(self))

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read calibration.json.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is of another format or version, or damaged.
        """
        try:
            tree = json.loads(path.read_text())
            found = tree.pop("format"), tree.pop("version")
            if found != (FORMAT, VERSION):
                raise ValueError(f"is {found}, expected {(FORMAT, VERSION)}")
            for key in ("before", "after"):
                tree[key] = None if tree[key] is None else Performance(**tree[key])
            return cls(**tree)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a calibration this version reads ({error}); calibrate again") from None


def path_beside(prior: Path, acquisition: dict[str, Any]) -> Path:
    """Where the calibration of an acquisition lies in the folder of its prior."""
    text = json.dumps(acquisition, sort_keys=True)
    return prior / "calibration" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def find(prior: Path, acquisition: dict[str, Any], samples: int) -> Calibration | None:
    """The calibration beside a prior that holds for an acquisition and a number of samples; None if there is none.

    One that cannot be read is none, which is logged: samples that took hours are not lost to it.
    """
    path = path_beside(prior, acquisition)
    if not path.is_file():
        return None
    try:
        calibration = Calibration.load(path)
    except ValueError as error:
        log.warning("the spread stays uncalibrated: %s", error)
        return None
    return calibration if calibration.holds_for(acquisition, samples) else None
