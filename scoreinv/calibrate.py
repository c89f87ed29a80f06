"""`scoreinv calibrate`: from simulated cases to factors of intervals, and what they are worth."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from scoreinv.acquisition import acquisition
from scoreinv.batch import identity
from scoreinv.cases import Case, load_case
from scoreinv.config import CalibrateSettings, RunSettings, check_one_sampler, dump_settings
from scoreinv.io import atomic_path
from scoreinv.posterior import stacked
from scoreinv.priors import Prior, load_prior
from scoreinv.priors.storage import BUNDLED, prior_folder
from scoreinv.report import coverage_curves, curves
from scoreinv.run import posterior
from scoreinv.samples import SampleStore
from scoreinv.uncertainty import Calibration, Observed, observe, patient
from scoreinv.uncertainty.calibration import path_beside


def calibrate(
    settings: CalibrateSettings, runs: Sequence[RunSettings], out: Path, say: Callable[[str], None] = print
) -> Calibration:
    """Sample every case, learn from the first ones and test on the others.

    Samples are kept in `out/samples/`, so that a run that was ended goes on where it was; calibration.json is written
    to `out`, and beside the prior if the settings say so; unless they say so, never beside a bundled one.

    Args:
        settings: of the calibration.
        runs: of the cases, and of one more whose truth is a point to measure distances from.
        out: folder of results.
        say: told what was found, a line at a time.

    Raises:
        ValueError: if the run is not of one sampler of at least two samples, has no truth, or one that is the same in
            all cases.
        PermissionError: if it is to be stored beside a prior whose folder cannot be written.
    """
    first = runs[0]
    check_one_sampler(first)
    prior, folder = load_prior(first.sampling.prior), prior_folder(first.sampling.prior)
    stored = _stored(settings.store, folder)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "config.yaml") as temporary:
        temporary.write_text(dump_settings(settings))
    observed = []
    elsewhere = _truth(load_case(runs[-1]))
    for k, run in enumerate(tqdm(runs[:-1], desc=settings.name, unit="case", disable=None)):
        case = load_case(run)
        _check_differ(_truth(case), elsewhere)
        store = SampleStore(out / "samples" / f"{k:04d}", _key(run))
        observed.append(_observed(case, run, prior, store, elsewhere, settings.region))
        elsewhere = _truth(case)
    about = acquisition(first, first.methods[0], load_case(first))
    parts = observed[: settings.calibration], observed[settings.calibration :]
    found = Calibration.learn(*parts, about, first.sampling.samples)
    found.save(out / "calibration.json")
    coverage_curves(out / "coverage.png", curves(out / "calibration.json", settings.name))
    say(summary(found))
    if stored:
        found.save(path_beside(folder, about))
        say(f"Later runs find it in {path_beside(folder, about)}.")
    else:
        say(
            f"It is in {out / 'calibration.json'} alone; --set store=true puts it beside the prior, where runs find it."
        )
    return found


def summary(found: Calibration) -> str:
    """What 90 % intervals cover before and after, in words."""
    assert found.before is not None
    assert found.after is not None
    assert found.tarp is not None
    at = found.levels.index(0.9)
    lines = [
        f"{name}: 90 % intervals cover {part.coverage[at]:.1%} +- {part.standard_error:.1%} of {found.cases['test']} "
        f"held-out cases, calibration error {part.calibration_error:.3f}, width {part.sharpness:.4g} (of the image)"
        for name, part in (("before", found.before), ("after", found.after))
    ]
    return "\n".join(
        [*lines, f"TARP: p = {found.tarp['p_value']:.2g}; factor of 90 % intervals {found.factors[at]:.3g}"]
    )


def _stored(asked: bool | None, folder: Path) -> bool:
    """Whether it goes beside the prior, which is said before anything is computed if it cannot."""
    stored = folder.resolve().parent != BUNDLED.resolve() if asked is None else asked
    if stored and not os.access(folder, os.W_OK):
        raise PermissionError(f"store: {folder} cannot be written; expected a copy of the prior, or store: false")
    return stored


def _observed(
    case: Case, run: RunSettings, prior: Prior, store: SampleStore, elsewhere: Tensor, region: float
) -> Observed:
    drawn = posterior(run.methods[0], case, prior, run.sampling).samples(run.sampling.samples, store)
    samples = _real(stacked(drawn)[0])
    return observe(samples, _truth(case), elsewhere, patient(samples.mean(0), region))


def _truth(case: Case) -> Tensor:
    if case.reference is None:
        raise ValueError("run.input: has no truth, expected a phantom")
    return _real(case.reference)


def _check_differ(truth: Tensor, other: Tensor) -> None:
    """Of one patient nothing is learned for others, and from the truth itself TARP measures no distance to it."""
    if torch.equal(truth, other):
        raise ValueError(
            "vary: two cases in turn have the same truth; expected keys that change it, of a phantom its seed"
        )


def _real(images: Tensor) -> Tensor:
    """Magnitudes of complex images, whose phase has no truth to compare with."""
    return images.abs() if torch.is_complex(images) else images


def _key(run: RunSettings) -> str:
    return identity.key(run, identity.inputs(run), identity.weights(run), run.methods)
