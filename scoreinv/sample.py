"""`scoreinv sample`: many samples of one scan, remembered as maps and numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from scoreinv.acquisition import acquisition
from scoreinv.batch import identity
from scoreinv.cases import Case, load_case
from scoreinv.cases.region import region_mask
from scoreinv.config import RunSettings, SampleSettings, check_one_sampler, dump_settings
from scoreinv.io import Image, atomic_path, write_image, write_json
from scoreinv.metrics import compared
from scoreinv.posterior import Posterior
from scoreinv.priors import load_prior
from scoreinv.priors.storage import prior_folder
from scoreinv.report import Panel, maps
from scoreinv.result import Reconstruction
from scoreinv.run import posterior, remove_earlier
from scoreinv.samples import Sample, SampleStore
from scoreinv.uncertainty import (
    Calibration,
    Tally,
    estimate,
    factor,
    hallucination,
    misfit,
    quantiles,
    split,
    worth,
)
from scoreinv.uncertainty.calibration import find
from scoreinv.uncertainty.intervals import check_quantiles

TALLY = "tally.pt"
SORTED_AT_ONCE = 2**28  # bytes of samples


def sample(
    settings: SampleSettings, run: RunSettings, out: Path, progress: bool = True, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Draw the samples that are missing and write what all of them say.

    The folder is that of a run, so that `scoreinv report` shows it, with maps (NIfTI), `statistics.json` and `maps.png`
    beside mean and std, and the samples if they are kept. More can be asked for later: those that were drawn are not
    drawn again, and the results are what they would have been at once. Memory does not grow with their number. Results
    of an earlier run in the same folder are removed, once the input has been read.

    Args:
        settings: what is asked.
        run: of the scan, by one sampler.
        out: folder of results.
        progress: show a bar.
        say: told what was found, a line at a time.

    Returns:
        What `statistics.json` holds: number of samples; level, factor and spread of intervals; chi_square of every
        sample; regions and contrasts with intervals; and the share of the variance that the scanner sees.

    Raises:
        ValueError: if the run is not of one sampler, of too few samples for what is asked, or of list mode, or a region
            is empty or of another grid.
    """
    check_one_sampler(run)
    check_quantiles(settings.quantiles, run.sampling.samples)
    study = _study(settings, run)
    out.mkdir(parents=True, exist_ok=True)
    remove_earlier(out)
    with atomic_path(out / "config.yaml") as temporary:
        temporary.write_text(dump_settings(settings))
    store = SampleStore(out / "samples", study.key) if settings.keep else None
    tally = _counted(study, store, out / TALLY, progress)
    known = _calibration(study, tally.count)
    result = _result(study, tally, known)
    statistics = _statistics(study, tally, result, known)
    _write(study, tally, store, result, statistics, known, out)
    say(summary(statistics))
    say(f"Look at {out / study.method / 'maps.png'}; the maps are NIfTI files beside it; or scoreinv report {out}.")
    return statistics


def summary(statistics: dict[str, Any]) -> str:
    """The numbers in words."""
    unit, level = statistics["unit"], f"{statistics['level']:.0%}"
    chi = torch.tensor(statistics["chi_square"])
    spread = "uncalibrated"
    if statistics["spread"] == "calibrated":
        spread = f"calibrated by {statistics['cases']['calibration']} cases, but for those of regions"
    lines = [
        f"{statistics['samples']} samples; chi-square {float(chi.mean()):.3f} +- {float(chi.std()):.3f} (1 where "
        f"data are missed by their noise alone); intervals are {spread}"
    ]
    lines += [
        f"{name}: {each['mean']:.4g} {unit}, {level} within [{each['low']:.4g}, {each['high']:.4g}]"
        for name, each in (statistics["regions"] | statistics["contrasts"]).items()
    ]
    if statistics["measured_share"] is not None:
        lines.append(f"the scanner sees {statistics['measured_share']:.1%} of the samples' variance")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Study:
    """What is asked of which scan.

    Attributes:
        settings, run, case: as given, and read.
        posterior: that samples are drawn from.
        key: of what a sample depends on.
        whole: of what its numbers depend on as well.
        regions: masks by name, of images where they lie in the patient.
        weight: of the data in what the scanner sees, alike for all samples, so that the parts are linear in them; None
            where that is not asked for.
    """

    settings: SampleSettings
    run: RunSettings
    case: Case
    posterior: Posterior
    key: str
    whole: str
    regions: dict[str, Tensor]
    weight: Tensor | None

    @property
    def method(self) -> str:
        return self.run.methods[0]

    def read(self, image: Tensor) -> Tensor:
        """The real numbers that people read, where they lie in the patient, (z, y, x)."""
        return self.case.scale.read(self.case.placed(image).data)

    def difference(self, values: Tensor) -> Tensor:
        """A spread or an error in the unit that people read, any shape."""
        read = self.case.scale.read
        return values.sign() * (read(values.abs()) - read(torch.zeros(1)))


def _study(settings: SampleSettings, run: RunSettings) -> _Study:
    case = load_case(run)
    if case.operator.partial:
        raise ValueError(
            f"run.input: {case.operator} knows of events but not of the lines without any, against which no sample can "
            "be held; expected a sinogram, such as lines.histogram makes"
        )
    key = identity.key(run, identity.inputs(run), identity.weights(run), run.methods)
    asked = settings.model_dump(mode="json", include={"thresholds", "regions", "null_space"})
    whole = identity.key(run, key, asked, identity.inputs(settings))
    grid = case.placed(torch.zeros(case.operator.in_shape, dtype=case.operator.in_dtype))
    masks = {name: region_mask(f"regions.{name}", region, grid) for name, region in settings.regions.items()}
    drawn = posterior(run.methods[0], case, load_prior(run.sampling.prior), run.sampling)
    problem = drawn.problem
    weight = None if settings.null_space is None else worth(problem.likelihood, problem.measurements)
    return _Study(settings, run, case, drawn, key, whole, masks, weight)


def _counted(study: _Study, store: SampleStore | None, path: Path, progress: bool) -> Tally:
    """All samples asked for, from wherever an earlier run came to."""
    number = study.run.sampling.samples
    tally = Tally.load(path, study.whole) or Tally()
    lost = store is not None and any(k not in store for k in range(tally.count))
    if tally.count > number or lost:
        tally = Tally()
    bar = tqdm(total=number, initial=tally.count, desc=study.settings.name, unit="sample", disable=not progress)
    with bar:
        for _, drawn in study.posterior.samples(number, store, first=tally.count):
            _add(study, tally, drawn)
            tally.save(path, study.whole)
            bar.update()
    return tally


def _add(study: _Study, tally: Tally, drawn: Sample) -> None:
    problem, values = study.posterior.problem, study.read(drawn.image)
    above = values > torch.tensor(study.settings.thresholds).reshape(-1, 1, 1, 1)
    parts = problem.operator, problem.measurements, problem.likelihood
    row = {"chi_square": float(misfit(*parts, drawn.image[None]).chi_square[0])}
    row |= {name: float(values[mask].double().mean()) for name, mask in study.regions.items()}
    seen = None
    if study.weight is not None and study.settings.null_space is not None:
        seen = split(problem.operator, study.weight, drawn.image, study.settings.null_space)
    tally.add(drawn.image, above, row, drawn.steps, seen)


def _result(study: _Study, tally: Tally, known: Calibration | None) -> Reconstruction:
    """Of the moments; the samples themselves stay where they are."""
    problem, dtype = study.posterior.problem, study.case.operator.in_dtype
    mean, std = tally.moments.mean.to(problem.measurements.device, dtype), tally.moments.std.float()
    residual = problem.likelihood.residual(problem.operator.forward(mean), problem.measurements)
    config = study.posterior.config | {"samples": tally.count}
    none = mean.new_empty(0, *mean.shape)
    label = None if known is None else known.label()
    return Reconstruction(mean, std, none, residual, tally.steps, config, study.case.voxel_size, label)


def _calibration(study: _Study, samples: int) -> Calibration | None:
    """One that holds, and knows the level asked for."""
    about = acquisition(study.run, study.method, study.case)
    found = find(prior_folder(study.run.sampling.prior), about, samples)
    return found if found is not None and study.settings.level in found.levels else None


def _statistics(study: _Study, tally: Tally, result: Reconstruction, known: Calibration | None) -> dict[str, Any]:
    settings = study.settings
    columns = {name: torch.tensor([row[name] for row in tally.rows]) for name in study.regions}
    differences = {name: columns[region] - columns[other] for name, (region, other) in settings.contrasts.items()}
    return {
        "samples": tally.count,
        "level": settings.level,
        "factor": factor(settings.level, tally.count) if known is None else known.factor(settings.level),
        "spread": "uncalibrated" if known is None else "calibrated",
        "cases": None if known is None else known.cases,
        "unit": study.case.scale.unit,
        "residual": result.residual,
        "chi_square": [row["chi_square"] for row in tally.rows],
        "regions": {name: asdict(estimate(values, settings.level)) for name, values in columns.items()},
        "contrasts": {name: asdict(estimate(values, settings.level)) for name, values in differences.items()},
        "measured_share": tally.measured_share,
    }


def _write(
    study: _Study,
    tally: Tally,
    store: SampleStore | None,
    result: Reconstruction,
    statistics: dict[str, Any],
    known: Calibration | None,
    out: Path,
) -> None:
    case, folder = study.case, out / study.method
    result.save(folder, case.placed)
    if known is not None:
        known.save(folder / "calibration.json")
    shown = _maps(study, tally, store, result, statistics["factor"])
    for name, image in shown.items():
        write_image(folder / f"{name}.nii.gz", image)
    write_json(folder / "statistics.json", statistics)
    write_image(out / f"{study.method}.nii.gz", study.case.placed(result.mean))
    row = {"seconds": sum(result.seconds.values())}
    if case.reference is not None:
        write_image(out / "reference.nii.gz", study.case.placed(case.reference))
        pair = result.mean, case.reference, case.scale
        row = compared(*pair) | row
    write_json(out / "metrics.json", {"methods": {study.method: row}})
    maps(folder / "maps.png", _panels(study, result, shown), case.voxel_size)


def _maps(
    study: _Study, tally: Tally, store: SampleStore | None, result: Reconstruction, wide: float
) -> dict[str, Image]:
    """Where they lie in the patient, by name; in the unit of the operator's image, shares without one."""
    settings, problem, placed = study.settings, study.posterior.problem, study.case.placed
    shown = {"width": placed(2 * wide * result.std)}
    if settings.quantiles and store is not None:
        found = _quantiles(store, tally.count, settings.quantiles, result.mean)
        shown |= {f"quantile_{p:g}": placed(image) for p, image in zip(settings.quantiles, found, strict=True)}
    if tally.above is not None:
        shares = tally.above / tally.count
        shown |= {
            f"above_{threshold:g}": replace(shown["width"], data=share)
            for threshold, share in zip(settings.thresholds, shares, strict=True)
        }
    if settings.null_space is not None:
        shown |= {f"{name}_std": placed(getattr(tally, name).std.float()) for name in ("measured", "unmeasured")}
        parts = problem.operator, problem.measurements, problem.likelihood, result.mean
        false = hallucination(*parts, study.case.reference, settings.null_space)
        shown["contradiction"] = placed(_along(result.mean, false.measured))
        if false.unmeasured is not None:
            shown["hallucination"] = placed(_along(result.mean, false.unmeasured))
    return shown


def _along(image: Tensor, change: Tensor) -> Tensor:
    """How much a small change makes of the magnitude of a complex image; of a real one the change itself."""
    if not image.is_complex():
        return change
    return (change * image.conj()).real / image.abs().clamp(min=torch.finfo(torch.float32).tiny)


def _quantiles(store: SampleStore, count: int, levels: tuple[float, ...], like: Tensor) -> Tensor:
    """Of kept samples, (levels, *image), a few rows of the image at a time; magnitudes of complex ones."""
    rows = max(1, SORTED_AT_ONCE // (count * like[0].nbytes))
    parts = []
    for k in range(0, len(like), rows):
        values = torch.stack([store.rows(number, k, k + rows) for number in range(count)])
        parts.append(quantiles(values.abs() if values.is_complex() else values, levels))
    return torch.cat(parts, 1)


def _panels(study: _Study, result: Reconstruction, shown: dict[str, Image]) -> list[Panel]:
    """What `maps.png` shows of them, in the unit that people read."""
    scale = study.case.scale
    low, high = scale.window
    known = "uncalibrated" if result.calibration is None else "calibrated"
    names = {"width": f"{study.settings.level:.0%} intervals, width,\n{known}"}
    std = study.difference(study.case.placed(result.std).data)
    panels = [
        Panel("mean", study.read(result.mean), low, high, scale.colours, scale.unit),
        Panel("std of samples", std, 0.0, _nearly_all(std), "magma", scale.unit),
    ]
    for name, image in shown.items():
        if name.startswith("above_"):
            panels.append(Panel(f"P({name.replace('_', ' ')})", image.data, 0.0, 1.0, "viridis", ""))
        elif name.startswith("quantile_"):
            panels.append(Panel(name.replace("_", " "), scale.read(image.data), low, high, scale.colours, scale.unit))
        elif name in ("contradiction", "hallucination"):
            panels.append(Panel(name, study.difference(image.data), -scale.error, scale.error, "RdBu_r", scale.unit))
        else:
            values = study.difference(image.data)
            title = names.get(name, name.replace("_", " "))
            panels.append(Panel(title, values, 0.0, _nearly_all(values), "magma", scale.unit))
    return panels


def _nearly_all(values: Tensor) -> float:
    """What 99.5 % of them stay below; above 0."""
    return float(np.percentile(values.numpy(), 99.5)) or 1.0
