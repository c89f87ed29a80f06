"""One configured reconstruction, from its input to a folder of results."""

from __future__ import annotations

import inspect
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv import baselines
from scoreinv.acquisition import acquisition
from scoreinv.baselines.learned import LearnedNetwork
from scoreinv.baselines.networks import load_network
from scoreinv.baselines.networks import reconstruct as reconstruct_learned
from scoreinv.cases import Case, load_case
from scoreinv.config import RunSettings, Sampling, dump_settings, hot_start, read_tree
from scoreinv.config.sampling import NAME
from scoreinv.memory import PeakMemory
from scoreinv.posterior import Posterior
from scoreinv.priors import NetworkPrior, PerpendicularPlanes, Prior, load_prior
from scoreinv.priors.storage import prior_folder
from scoreinv.result import remove_saved
from scoreinv.samplers import DDIM, METHODS, Step, presets, schedules
from scoreinv.samplers.clock import finish_queued_work
from scoreinv.samplers.guidance import DDS
from scoreinv.samples import SampleStore
from scoreinv.solve import prepare, sampled
from scoreinv.uncertainty.calibration import find

log = logging.getLogger("scoreinv")


def run(
    settings: RunSettings,
    out: Path,
    progress: bool = True,
    say: Callable[[str], None] = print,
    *,
    prior: Prior | None = None,
    kept: Callable[[str], SampleStore] | None = None,
    picture: bool = True,
    samples: bool = True,
) -> dict[str, dict[str, float]]:
    """Reconstruct by every method and write config.yaml, metrics.json, figure.png and a NIfTI a method.

    Results of an earlier run in the same folder are removed, once the input has been read.

    Args:
        settings: of the run.
        out: folder of results.
        progress: show bars.
        say: told what is going on, a line at a time.
        prior: the one that the settings name, where it is loaded already.
        kept: where the images of a method are kept as they come, and found by a later run; seconds are those of both.
        picture: draw figure.png.
        samples: write every sample of the posterior beside their mean.

    Returns:
        Metrics by method: psnr (dB), ssim and vif where there is a reference; held_out (relative error of predicted
        samples) where samples were held out; seconds; memory (MiB of the host at its peak, as `PeakMemory`), unless
        images were found in the store; and parameters of the trained networks in it, if any. A psnr of Inf (equal
        images) and an ssim or vif of NaN (slices too small) are null in metrics.json.
    """
    from scoreinv.io import atomic_path, write_image, write_json
    from scoreinv.metrics import compared
    from scoreinv.report import figure, table

    # The input comes first: where it cannot be read, the results of an earlier run stay.
    case = load_case(settings)
    if prior is None and any(hot_start(method)[1] in METHODS for method in settings.methods):
        prior = load_prior(settings.sampling.prior)
    networks = _networks(settings, case)
    out.mkdir(parents=True, exist_ok=True)
    remove_earlier(out)
    with atomic_path(out / "config.yaml") as temporary:
        temporary.write_text(dump_settings(settings))
    spacing = case.voxel_size
    say(f"{settings.name}: {case.operator}, voxels {' x '.join(f'{size:g}' for size in spacing)} mm")
    if case.reference is not None:
        write_image(out / "reference.nii.gz", case.placed(case.reference))
    images: dict[str, Tensor] = {}
    metrics: dict[str, dict[str, float]] = {}
    for method in settings.methods:
        begun = time.perf_counter()
        store = None if kept is None else kept(method)
        before = 0.0 if store is None else store.seconds()
        found = [] if store is None else store.numbers()
        start, _ = hot_start(method)
        with PeakMemory() as memory:
            if method in networks:
                learned = partial(reconstruct_learned, networks[method], case.operator, case.measurements)
                images[method] = _once(learned, case, store)
            elif hot_start(method)[1] not in METHODS:
                images[method] = _once(baseline(method, case, settings.options.get(method, {})), case, store)
            else:
                assert prior is not None
                first = None if start is None else images[start]
                parts = case, prior, settings.sampling, out, progress, first
                about = None if start is not None else acquisition(settings, method, case)
                images[method] = sample(method, *parts, store=store, samples=samples, about=about)
        row = {"seconds": before + time.perf_counter() - begun}
        if not found:  # what was found in the store needed memory once, but nobody remembers how much
            row["memory"] = memory.mebibytes
        if start is not None:
            row = _together(metrics[start], row)
        row |= _parameters(method, networks, prior)
        write_image(out / f"{method}.nii.gz", case.placed(images[method]))
        if case.reference is not None:
            pair = images[method], case.reference, case.scale
            row = compared(*pair) | row
        if case.held_out is not None:
            operator, data = case.held_out
            error = torch.linalg.vector_norm(operator.forward(images[method]) - data)
            row = {"held_out": float(error / torch.linalg.vector_norm(data))} | row
        metrics[method] = row
        write_json(out / "metrics.json", {"methods": metrics})
    say(table(metrics))
    if picture:
        shown = {method: case.placed(image).data for method, image in images.items()}
        reference = None if case.reference is None else case.placed(case.reference).data
        figure(out / "figure.png", shown, reference, spacing, case.scale)
        say(f"Look at {out / 'figure.png'}; the images are NIfTI files beside it, the settings in config.yaml.")
    return metrics


def _together(start: dict[str, float], own: dict[str, float]) -> dict[str, float]:
    """What a hot start costs with the reconstruction that it starts from."""
    row = {"seconds": start["seconds"] + own["seconds"]}
    return row | {key: max(start[key], own[key]) for key in ("memory",) if key in start and key in own}


def _parameters(method: str, networks: Mapping[str, LearnedNetwork], prior: Prior | None) -> dict[str, float]:
    """Of the trained networks in a method, each counted once; nothing where there is none."""
    used: set[nn.Module] = set()
    for part in method.split("+"):
        if part in networks:
            used.add(networks[part])
        elif part in METHODS and isinstance(prior, NetworkPrior):
            used.add(prior.network)
    return {"parameters": sum(p.numel() for network in used for p in network.parameters())} if used else {}


def _once(compute: Callable[[], Tensor], case: Case, store: SampleStore | None) -> Tensor:
    """An image of the case without chance in it, from the store if it is there."""
    found = None if store is None else store.read(0, case.measurements.device)
    if found is not None:
        return found.image
    begun = time.perf_counter()
    image = compute()
    finish_queued_work()
    if store is not None:
        store.write(0, image, [Step(0, 0.0, (), 0, 0.0, 0.0, time.perf_counter() - begun)])
    return image


def _networks(settings: RunSettings, case: Case) -> dict[str, LearnedNetwork]:
    """Those of the methods that are learned, refused here if they cannot reconstruct the case."""
    networks = {name: load_network(settings.networks[name]) for name in settings.methods if name in settings.networks}
    for name, network in networks.items():
        network.to(case.measurements.device)
        try:
            network.check(case.operator)
        except TypeError as error:
            raise ValueError(f"networks.{name}: {error}") from None
    return networks


def remove_earlier(out: Path) -> None:
    """Remove the results that an earlier run, or `scoreinv sample`, left beside its settings, and nothing else."""
    if not (out / "config.yaml").is_file():
        return
    settings = read_tree(out / "config.yaml")
    if isinstance(settings.get("run"), dict):  # what was asked about samples stands around their run
        settings = settings["run"]
    found = settings.get("methods")
    # The file may be anybody's: a method named ../x must not reach out of the folder.
    methods = [str(name) for name in found if re.fullmatch(NAME, str(name))] if isinstance(found, list) else []
    images = [f"{name}{part}.nii.gz" for name in ("reference", *methods) for part in ("", "_phase")]
    for name in ("metrics.json", "figure.png", "report.html", *images):
        (out / name).unlink(missing_ok=True)
    for folder in (out / method for method in methods):
        if folder.is_dir():
            remove_saved(folder)
            if not any(folder.iterdir()):
                folder.rmdir()


def sample(
    name: str,
    case: Case,
    prior: Prior,
    sampling: Sampling,
    out: Path,
    progress: bool,
    init: Tensor | None = None,
    store: SampleStore | None = None,
    samples: bool = True,
    about: dict[str, Any] | None = None,
) -> Tensor:
    """Mean of a sampler's samples of one case, `operator.in_shape`; all that is known goes to `out/<name>/`.

    It may start from an image of that shape, `init`, noised to `sampling.start_sigma`. Its spread is labelled
    calibrated where a calibration for the acquisition `about` lies beside the prior.
    """
    result = sampled(posterior(name, case, prior, sampling, init), sampling.samples, store=store, progress=progress)
    known = None if about is None else find(prior_folder(sampling.prior), about, sampling.samples)
    if known is not None:
        result = replace(result, calibration=known.label())
    result.save(out / name, case.placed, samples)
    if known is not None:
        known.save(out / name / "calibration.json")
        log.info("%s: its intervals are calibrated by %d cases", name, known.cases["calibration"])
    return result.mean


def baseline(method: str, case: Case, options: Mapping[str, Any]) -> partial[Tensor]:
    """What reconstructs the case, told the noise if it wants to know, with options in place of defaults."""
    function: Callable[..., Tensor] = getattr(baselines, method)
    told = "likelihood" in inspect.signature(function).parameters
    extra = {"likelihood": case.likelihood} if told else {}
    return partial(function, case.operator, case.measurements, **extra, **options)


def posterior(name: str, case: Case, prior: Prior, sampling: Sampling, init: Tensor | None = None) -> Posterior:
    """What the sampler of a method draws from on one case."""
    _, method = hot_start(name)
    if isinstance(prior, NetworkPrior):
        prior = prior.to(case.prior_device or case.measurements.device)
    if sampling.compile:
        prior = _compiled(prior)
    if sampling.reference is not None:
        prior = _told(prior, case, sampling)
    guidance, stepper = METHODS[method].guidance, METHODS[method].stepper
    if sampling.iterations is not None and isinstance(guidance, DDS):
        guidance = replace(guidance, iterations=sampling.iterations)
    if sampling.split is not None and isinstance(stepper, DDIM):
        stepper = replace(stepper, split=sampling.split)
    schedule = None if sampling.sigma_max is None else presets.edm(sampling.sigma_max / prior.data_std)
    if init is not None:
        schedule = _from(sampling.start_sigma, schedule or METHODS[method].schedule)
    return prepare(
        case.operator,
        case.measurements,
        _lifted(prior, case, sampling),
        likelihood=case.likelihood,
        method=method,
        steps=sampling.steps,
        guidance=guidance,
        stepper=stepper,
        schedule=None if schedule is None else schedule(sampling.steps, prior),
        seed=sampling.seed,
        init=init,
        slice_axis=0 if sampling.axes == "auto" else sampling.axes[0],
        max_slices=sampling.max_slices,
        coupling="auto" if sampling.coupling == "auto" else None,
    )


def _compiled(prior: Prior) -> Prior:
    if not isinstance(prior, NetworkPrior):
        raise ValueError(f"sampling.compile: {prior} has no network; expected the prior of a network")
    return prior.compiled()


def _from(start_sigma: float, schedule: presets.Schedule) -> presets.Schedule:
    """The part of a schedule below the level of a hot start."""
    return lambda steps, prior: schedules.start_at(schedule(steps, prior), start_sigma)


def _told(prior: Prior, case: Case, sampling: Sampling) -> Prior:
    """The prior, told the reference image."""
    from scoreinv.io import read_image

    assert sampling.reference is not None
    shape = case.operator.in_shape
    reference = read_image(sampling.reference).data.to(case.measurements.device)
    if reference.numel() != math.prod(shape) or tuple(reference.shape[-2:]) != shape[-2:]:
        raise ValueError(
            f"sampling.reference: {sampling.reference} has shape {tuple(reference.shape)}, expected that of the image, "
            f"{shape}; resample it onto the same grid"
        )
    if not isinstance(prior, NetworkPrior):
        raise ValueError(f"sampling.reference: {prior} is told nothing; expected the prior of a network")
    return prior.conditioned(reference.reshape(shape), sampling.reference_weight)


def _lifted(prior: Prior, case: Case, sampling: Sampling) -> Prior:
    """The prior along the axes asked for; `solve` itself lifts one that sees slices along a single axis."""
    axes = (0, 1) if sampling.axes == "auto" else sampling.axes
    if len(axes) == 1 or len(case.operator.in_shape) == 2:
        return prior
    try:
        return PerpendicularPlanes(prior, axes, voxel_size=case.voxel_size, max_slices=sampling.max_slices or 8)
    except ValueError as error:
        if sampling.axes != "auto":
            raise
        log.info("axial slices alone: %s", error)
        return prior
