"""`scoreinv lesion`: whether reconstructions show the lesions that are there, and only those."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from tqdm import tqdm

from scoreinv.batch import identity
from scoreinv.cases import Case, load_case
from scoreinv.config import LesionSettings, RunSettings, dump_settings
from scoreinv.io import atomic_path, write_json
from scoreinv.posterior import stacked
from scoreinv.priors import load_prior
from scoreinv.report import roc_curves
from scoreinv.run import baseline, posterior
from scoreinv.samplers import METHODS
from scoreinv.samples import SampleStore
from scoreinv.uncertainty import contrasts, roc

Patients = Sequence[tuple[RunSettings, RunSettings]]
SHELL = (1.0, 3.0)  # voxels from the lesion, of its surroundings


def lesion(
    settings: LesionSettings, runs: Mapping[str, Patients], out: Path, say: Callable[[str], None] = print
) -> dict[str, dict[str, dict[str, Any]]]:
    """Scan every patient with a lesion and without it, reconstruct by every method, and look where it is or is not.

    A lesion is told by the contrast of its place to the surroundings, 1 for that which was put there. A baseline says
    "there" above 1/2. Of n samples with mean m and standard deviation s of the contrast, the probability that one more
    draw is above 1/2 is that of Student's t with n - 1 degrees of freedom beyond (1/2 - m) / (s sqrt(1 + 1/n)), and
    they say "there" if that is above 1/2. Samples are kept in `out/samples`, so that a study that was ended goes on.

    Args:
        settings: of the study.
        runs: by name, the scans of every patient: with the lesion and without.
        out: folder of lesion.json and lesion.png.
        say: told the table.

    Returns:
        By run and method: area under the ROC curve (area) and the curve (false_positives, true_positives), mean
        contrast where it is there (recovered), how often it was found and how often invented, and every score.

    Raises:
        ValueError: if the phantoms have no lesion, it is too small for their voxels, or a run is of other methods than
            baselines and at most one sampler.
    """
    for name, patients in runs.items():
        _check_methods(name, patients[0][0])
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "config.yaml") as temporary:
        temporary.write_text(dump_settings(settings))
    found = {name: _study(name, patients, out / "samples" / name) for name, patients in runs.items()}
    write_json(out / "lesion.json", found)
    roc_curves(out / "lesion.png", found)
    say(table(found))
    return found


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown: a row a run and method."""
    lines = ["| scan | method | area under ROC | contrast recovered | found | invented |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {method} | {row['area']:.3f} | {row['recovered']:.2f} | {row['found']:.0%} | "
        f"{row['invented']:.0%} |"
        for name, methods in found.items()
        for method, row in methods.items()
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Place:
    """Where a lesion was put, or not: masks of it and its surroundings, on the CPU, and the contrast that it adds."""

    inside: Tensor
    around: Tensor
    added: float

    @classmethod
    def between(cls, name: str, present: Case, absent: Case) -> _Place:
        """Where two truths differ."""
        if present.reference is None or absent.reference is None:
            raise ValueError(f"runs.{name}: has no truth, expected a phantom with input.phantom.lesion")
        truths = [case.scale.read(case.reference.cpu()) for case in (present, absent) if case.reference is not None]
        difference = (truths[0] - truths[1]).abs()
        inside = difference > 0.5 * difference.max()
        if not bool(inside.any()):
            raise ValueError(f"runs.{name}: no lesion in the phantom, expected input.phantom.lesion with a contrast")
        shape, sizes = difference.shape, present.voxel_size
        flat = len(shape) == 2 or shape[0] == 1
        planes = (~inside).numpy().reshape(shape[-2:] if flat else shape)
        distance = torch.from_numpy(distance_transform_edt(planes, sizes[1:] if flat else sizes)).reshape(shape)
        near, far = (reach * max(sizes[1:]) for reach in SHELL)
        around = (distance > near) & (distance < far) & (difference == 0)
        first, second = (float(contrasts(truth[None], inside, around)) for truth in truths)
        return cls(inside, around, first - second)

    def contrast(self, case: Case, images: Tensor) -> Tensor:
        """(n, *image) -> (n,), 1 for the contrast that was added."""
        return contrasts(case.scale.read(images.cpu()), self.inside, self.around) / self.added


def _check_methods(name: str, run: RunSettings) -> None:
    others = [method for method in run.methods if method not in run.BASELINES]
    if len(others) > 1 or not METHODS.keys() >= set(others):
        raise ValueError(
            f"runs.{name}.methods: {list(run.methods)}, expected baselines and at most one sampler; give another a run "
            "of its own"
        )


def _study(name: str, patients: Patients, samples: Path) -> dict[str, dict[str, Any]]:
    methods = patients[0][0].methods
    scores: dict[str, list[list[float]]] = {method: [[], []] for method in methods}
    levels: dict[str, list[float]] = {method: [] for method in methods}
    for k, pair in enumerate(tqdm(patients, desc=name, unit="patient", disable=None)):
        cases = [load_case(run) for run in pair]
        place = _Place.between(name, *cases)
        for which, (run, case) in enumerate(zip(pair, cases, strict=True)):
            for method in methods:
                folder = samples / f"{k:04d}-{('present', 'absent')[which]}"
                values = place.contrast(case, _images(method, run, case, folder))
                scores[method][which].append(_score(values))
                if which == 0:
                    levels[method].append(float(values.mean()))
    return {method: _summary(present, absent, levels[method]) for method, (present, absent) in scores.items()}


def _images(method: str, run: RunSettings, case: Case, folder: Path) -> Tensor:
    """(n, *image): all samples of a sampler, the one image of anything else."""
    if method not in METHODS:
        image: Tensor = baseline(method, case, run.options.get(method, {}))()
        return image[None]
    key = identity.key(run, identity.inputs(run), identity.weights(run), method)
    drawn = posterior(method, case, load_prior(run.sampling.prior), run.sampling)
    return stacked(drawn.samples(run.sampling.samples, SampleStore(folder, key)))[0]


def _score(values: Tensor) -> float:
    """How far one image lies above 1/2, or how probable that is of one more sample."""
    if len(values) == 1:
        return float(values[0])
    n, mean, std = len(values), float(values.mean()), float(values.std())
    return float(stats.t.sf((0.5 - mean) / (std * np.sqrt(1 + 1 / n)), n - 1))


def _summary(present: list[float], absent: list[float], levels: list[float]) -> dict[str, Any]:
    curve = roc(present, absent)
    return {
        "area": curve.area,
        "recovered": float(np.mean(levels)),
        "found": float(np.mean(np.array(present) > 0.5)),
        "invented": float(np.mean(np.array(absent) > 0.5)),
        "false_positives": curve.false_positives.tolist(),
        "true_positives": curve.true_positives.tolist(),
        "present": present,
        "absent": absent,
    }
