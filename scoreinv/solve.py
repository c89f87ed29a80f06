"""`solve`: from measurements to samples of the image and what is known of it."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from scoreinv.operators import Gaussian, Likelihood, LinearOperator, Poisson, Stack
from scoreinv.operators.em import check_listed, em_step, em_subsets, uniform_image
from scoreinv.posterior import Posterior, stacked, together
from scoreinv.priors import IntensityMap, NonNegative, Prior, SliceWise
from scoreinv.result import Reconstruction, describe
from scoreinv.samplers import (
    METHODS,
    Coupling,
    NoiseSource,
    Preset,
    Problem,
    State,
    Step,
    Stepper,
    TVz,
    TwistedSMC,
    schedules,
)
from scoreinv.samplers.guidance import MAPEM, Guidance
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.loop import Callback
from scoreinv.samples import SampleStore

SCALE_ITERATIONS = 5

log = logging.getLogger("scoreinv")


def solve(
    operator: LinearOperator,
    measurements: Tensor,
    prior: Prior,
    *,
    likelihood: Likelihood | None = None,
    method: str = "dds",
    steps: int = 50,
    samples: int = 1,
    seed: int = 0,
    init: Tensor | None = None,
    coupling: Coupling | str | None = "auto",
    guidance: Guidance | None = None,
    stepper: Stepper | None = None,
    schedule: Tensor | None = None,
    slice_axis: int = 0,
    max_slices: int | None = None,
    callback: Callback | None = None,
    progress: bool = True,
) -> Reconstruction:
    """Sample the posterior of the image given its measurements.

    Args:
        operator: the scanner, image -> expected data.
        measurements: `operator.out_shape`, on the device to compute on.
        prior: of images or of their slices; a 2D prior is lifted to a volume slice by slice. With Poisson counts its
            estimates are taken for activity, `NonNegative`.
        likelihood: noise model; None means Gaussian with sigma = 0.01 rms(measurements), or Poisson counts without
            background where the operator measures counts, which is logged.
        method: name of a preset, one of `METHODS`; the parts below replace its own.
        steps: noise levels.
        samples: number of posterior samples.
        seed: a sample depends on it and on the sample's number, not on how samples are grouped.
        init: image to start from, noised to the schedule's first level; `operator.in_shape`.
        coupling: across slices; "auto" is TVz for a volume under a 2D prior, stronger the thinner slices are for the
            width of their pixels where the operator has a `volume` that tells, and none otherwise.
        guidance, stepper: parts in place of the preset's.
        schedule: descending sigmas ending in 0, in place of the preset's and of `steps`.
        slice_axis: of a volume, across which a 2D prior is stacked.
        max_slices: slices (or 2D samples) in the network at once; bounds memory and changes no result.
        callback: called with (Step, State) after every step of every group of samples.
        progress: show a bar.

    Returns:
        Mean, spread and samples in the operator's units, residual and diagnostics.

    Raises:
        ValueError, TypeError: if shapes, dtypes, units or names do not fit together.
        Diverged: if the state is not finite any more; it carries the last finite one.
    """
    _check_count("samples", samples)
    posterior = prepare(
        operator,
        measurements,
        prior,
        likelihood=likelihood,
        method=method,
        steps=steps,
        seed=seed,
        init=init,
        coupling=coupling,
        guidance=guidance,
        stepper=stepper,
        schedule=schedule,
        slice_axis=slice_axis,
        max_slices=max_slices,
    )
    return sampled(posterior, samples, callback=callback, progress=progress)


def sampled(
    posterior: Posterior,
    samples: int,
    *,
    store: SampleStore | None = None,
    callback: Callback | None = None,
    progress: bool = True,
) -> Reconstruction:
    """Samples 0, 1, ... of a posterior and what they say together.

    Args:
        posterior: from `prepare`.
        samples: their number.
        store: where they are kept one by one; those that are there are not drawn again.
        callback, progress: as `solve` takes them.
    """
    steps = posterior.steps * samples
    with tqdm(total=steps, desc=posterior.config["method"], unit="step", disable=not progress, leave=False) as bar:

        def report(step: Step, state: State, count: int) -> None:
            bar.update(count)
            if callback is not None:
                callback(step, state)

        images, diagnostics = stacked(posterior.samples(samples, store, report))
    problem, config = posterior.problem, posterior.config | {"samples": samples}
    return Reconstruction.of(images, problem.operator, problem.measurements, problem.likelihood, diagnostics, config)


def prepare(
    operator: LinearOperator,
    measurements: Tensor,
    prior: Prior,
    *,
    likelihood: Likelihood | None = None,
    method: str = "dds",
    steps: int = 50,
    seed: int = 0,
    init: Tensor | None = None,
    coupling: Coupling | str | None = "auto",
    guidance: Guidance | None = None,
    stepper: Stepper | None = None,
    schedule: Tensor | None = None,
    slice_axis: int = 0,
    max_slices: int | None = None,
) -> Posterior:
    """What `solve` samples from, to draw samples one after the other; arguments and errors are those of `solve`."""
    _check_settings(prior, likelihood, method, guidance, stepper, steps, seed, max_slices, schedule)
    _check_measurements(operator, measurements)
    likelihood = likelihood or _default_likelihood(operator, measurements)
    likelihood.check(measurements, operator.out_shape)
    _check_counts(operator, measurements, likelihood)
    prior = _at_scale(prior, operator, measurements, likelihood)
    preset, chunk = METHODS[method], max_slices or 8
    lifted = _lift(prior, operator, slice_axis, chunk)
    guidance, stepper = guidance or preset.guidance, stepper or preset.stepper
    if operator.partial and not isinstance(guidance, MAPEM):
        raise ValueError(
            f"solve: {guidance} sees events but not the lines without any; expected method='map-em' for list mode, or "
            "the histogram of the events"
        )
    if init is not None and isinstance(stepper, TwistedSMC):
        raise ValueError("solve: TwistedSMC starts its particles from noise alone, got init; leave it out")
    coupling = _couple(coupling, preset, guidance, lifted, operator)
    seen = NonNegative(lifted) if isinstance(likelihood, Poisson) else lifted
    problem = Problem(operator, measurements, likelihood, seen, coupling)
    sigmas = preset.schedule(steps, lifted) if schedule is None else schedules.check(schedule)
    first = None if init is None else _check_init(operator, init, lifted, measurements.device)

    noise = NoiseSource(seed, operator.in_shape, operator.in_dtype, measurements.device)
    config = describe(
        operator=operator,
        likelihood=likelihood,
        prior=prior,
        intensity=prior.intensity,
        method=method,
        guidance=guidance,
        stepper=stepper,
        coupling=coupling,
        schedule=sigmas.tolist(),
        seed=seed,
        slice_axis=slice_axis,
    )
    size = together(operator.in_shape, prior.ndim, chunk)
    return Posterior(problem, guidance, stepper, sigmas, noise, first, size, config)


def _check_settings(
    prior: Prior,
    likelihood: Likelihood | None,
    method: str,
    guidance: Guidance | None,
    stepper: Stepper | None,
    steps: int,
    seed: int,
    max_slices: int | None,
    schedule: Tensor | None,
) -> None:
    if method not in METHODS:
        raise ValueError(f"solve: no method {method!r}; expected one of {sorted(METHODS)}")
    if likelihood is not None and not isinstance(likelihood, Likelihood):
        raise TypeError(f"solve: likelihood is {likelihood!r}, expected a noise model such as Gaussian({likelihood!r})")
    for name, part, kind, example in (
        ("guidance", guidance, Guidance, "DDS()"),
        ("stepper", stepper, Stepper, "DDIM()"),
    ):
        if part is not None and not isinstance(part, kind):
            raise TypeError(
                f"solve: {name} is {part!r}, expected an object such as {example}; names of presets go to method"
            )
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"solve: seed is {seed!r}, expected a whole number of at least 0")
    if not isinstance(prior, Prior):
        raise TypeError(f"solve: prior is {prior!r}, expected a Prior; load_prior({prior!r}) makes one of a name")
    _check_count("steps", steps)
    _check_count("max_slices", 1 if max_slices is None else max_slices)
    if schedule is not None and not isinstance(schedule, Tensor):
        raise TypeError(f"solve: schedule is {type(schedule).__name__}, expected a tensor of sigmas; use torch.tensor")


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"solve: {name} is {value}, expected a whole number of at least 1")


def _couple(
    coupling: Coupling | str | None, preset: Preset, guidance: Guidance, lifted: Prior, operator: LinearOperator
) -> Coupling | None:
    """What "auto" means: TVz across the slices of a volume where the guidance has a place for it.

    Nothing for images, nor for frames of a `Stack`. Strengths of presets are for cubes: the nearer two slices are in
    terms of their pixels, the more they have in common.
    """
    if isinstance(coupling, str):
        if coupling != "auto":
            raise ValueError(f"solve: coupling is {coupling!r}; expected 'auto', None or a Coupling such as TVz()")
        if not isinstance(lifted, SliceWise) or isinstance(operator, Stack) or operator.in_shape[lifted.axis] == 1:
            return None
        for candidate in (preset.coupling, TVz()):
            if candidate is not None and isinstance(candidate, guidance.couples):
                strength = candidate.strength * _closeness(operator, lifted.axis)
                return replace(candidate, axis=lifted.axis, strength=strength)
        return None
    return coupling


def _closeness(operator: LinearOperator, axis: int) -> float:
    """Width of a pixel over distance of slices; 1 where the operator does not know its voxels."""
    if operator.volume is None:
        return 1.0
    sizes = list(operator.volume.voxel_size)
    spacing = sizes.pop(axis)
    return math.sqrt(math.prod(sizes)) / spacing


def _check_measurements(operator: LinearOperator, measurements: Tensor) -> None:
    # The operator's own check names shape, dtype and device; `solve` takes one data set, not a batch of them.
    operator.check_measurements(measurements)
    if tuple(measurements.shape) != operator.out_shape:
        raise ValueError(
            f"solve: measurements have shape {tuple(measurements.shape)}, expected {operator.out_shape}; "
            "call solve once for each data set"
        )
    _check_finite(measurements, "measurements", "mask bad data in the likelihood and set them to 0")


def _check_counts(operator: LinearOperator, counts: Tensor, likelihood: Likelihood) -> None:
    """That an image can give counts at all, and those that were measured."""
    if not operator.counts or not isinstance(likelihood, Poisson):
        return
    if operator.partial:
        check_listed(operator, counts, likelihood)
    expected = operator.forward(torch.ones(operator.in_shape, dtype=operator.in_dtype, device=counts.device))
    if not bool((expected > 0).any()):
        raise ValueError(f"solve: {operator} gives no counts of any image; check normalisation and volume")
    likelihood.check_seen(expected, counts)


def _check_finite(x: Tensor, what: str, mend: str) -> None:
    bad = ~torch.isfinite(torch.view_as_real(x).sum(-1) if x.is_complex() else x)
    if bool(bad.any()):
        raise ValueError(f"solve: {what} hold {int(bad.sum())} NaN or Inf of {bad.numel()} values; {mend}")


def _default_likelihood(operator: LinearOperator, measurements: Tensor) -> Likelihood:
    if operator.counts:
        log.info("solve: no likelihood given; Poisson counts without background")
        return Poisson()
    sigma = 0.01 * float(measurements.abs().square().mean().sqrt())
    if sigma == 0:
        raise ValueError("solve: measurements are all zero; expected data, or give a likelihood")
    log.info("solve: no likelihood given; Gaussian with sigma = 0.01 rms(measurements) = %.4g", sigma)
    return Gaussian(sigma)


def _at_scale(prior: Prior, operator: LinearOperator, measurements: Tensor, likelihood: Likelihood) -> Prior:
    """The prior with its scale found in a first reconstruction, where data have a scale of their own.

    That is the weighted least-squares image after a few conjugate gradients, of counts that after a few steps of EM:
    early enough to hold little noise.
    """
    if prior.intensity.fixed:
        return prior
    if not bool(measurements.any()):
        raise ValueError(f"solve: measurements are all zero; expected data, in which {prior} can find its scale")
    if isinstance(likelihood, Poisson):
        first = _expected_image(operator, measurements, likelihood)
    else:
        zero = torch.zeros(operator.in_shape, dtype=operator.in_dtype, device=measurements.device)
        near = Quadratic.at(zero, Problem(operator, measurements, likelihood, prior.scaled(IntensityMap())))
        first = near.solve(near.pull, 0.0, SCALE_ITERATIONS, 0.0).x
    prior = prior.scaled(prior.intensity.fitted(first))
    log.info("solve: 1 in the prior's units is %.4g in the data's", prior.intensity.scale)
    return prior


def _expected_image(operator: LinearOperator, counts: Tensor, likelihood: Poisson) -> Tensor:
    [part] = em_subsets(operator, counts, likelihood, 1)
    x, seen = uniform_image([part])
    for _ in range(SCALE_ITERATIONS):
        x = em_step(part, x, seen)
    return x


def _lift(prior: Prior, operator: LinearOperator, slice_axis: int, max_slices: int) -> Prior:
    """The prior as one of the operator's images."""
    unit = getattr(operator, "unit", None)
    if None not in (unit, prior.intensity.unit) and unit != prior.intensity.unit:
        raise ValueError(
            f"solve: {prior} gives images in {prior.intensity.unit}, {operator} takes {unit}; "
            "choose a prior of the operator's modality"
        )
    if operator.counts and prior.intensity.unit == "1/mm":
        raise ValueError(
            f"solve: {prior} gives images of attenuation, {operator} sees activity; choose one of PET such as pet-128"
        )
    if unit is not None and prior.intensity == IntensityMap():
        log.warning(
            "solve: %s says nothing of units; its network units are taken for those of the image (%s). Give it an "
            "IntensityMap if they are not",
            prior,
            unit,
        )
    _check_voxels(prior, operator, slice_axis)
    if prior.channels > 1 and not operator.in_dtype.is_complex:
        if operator.in_shape[:-2] != (prior.channels,):
            raise ValueError(
                f"solve: {prior} is of complex images or of {prior.channels} channels, {operator} takes real "
                f"{operator.in_shape}; expected ({prior.channels}, y, x), or an operator of its modality"
            )
        return prior
    if prior.ndim == 2 and len(operator.in_shape) == 3:
        return SliceWise(prior, slice_axis, max_slices)
    if prior.ndim != len(operator.in_shape):
        raise ValueError(f"solve: {prior} cannot see images of shape {operator.in_shape}")
    return prior


def _check_voxels(prior: Prior, operator: LinearOperator, slice_axis: int) -> None:
    volume = getattr(operator, "volume", None)
    if volume is None or prior.voxel_size is None:
        return
    low, high = prior.voxel_size
    sizes = [size for axis, size in enumerate(volume.voxel_size) if prior.ndim == 3 or axis != slice_axis]
    if min(sizes) < 0.75 * low or max(sizes) > 1.33 * high:
        log.warning("solve: %s was trained on voxels of %g to %g mm, the image has %s mm", prior, low, high, sizes)


def _check_init(operator: LinearOperator, init: Tensor, prior: Prior, device: torch.device) -> Tensor:
    operator.check_image(init)
    if init.device != device:
        raise ValueError(f"solve: init is on {init.device}, the measurements on {device}; move it with .to('{device}')")
    if tuple(init.shape) != operator.in_shape:
        raise ValueError(f"solve: init has shape {tuple(init.shape)}, expected one image, {operator.in_shape}")
    _check_finite(init, "init", "start without it")
    return prior.intensity.to_network(init)
