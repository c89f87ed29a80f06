"""What a run or a batch would cost, from the rates of network and operator measured on its own cases.

Of every kind of case (settings and sizes) each method is tried: of a sampler a few steps spread over its noise levels,
of an iteration the first few. What stops early, such as conjugate gradients, may be faster. Nothing is written.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from scoreinv.baselines.networks import load_network, reconstruct
from scoreinv.cases import Case, load_case
from scoreinv.config import BatchCase, RunSettings, hot_start
from scoreinv.memory import MIB, most_held
from scoreinv.priors import Prior, load_prior
from scoreinv.run import baseline, posterior
from scoreinv.samplers import METHODS
from scoreinv.samplers.clock import finish_queued_work

STEPS = 3  # of a sampler that are tried
ITERATIONS = (1, 3)  # of a baseline, whose difference is that of two


@dataclass(frozen=True)
class Forecast:
    """Of one case.

    Attributes:
        name: of the case.
        seconds: by method; empty if the case cannot be read.
        memory: of the process at its peak, bytes.
        gpu_memory: of the GPU at its peak, bytes, where one computes.
        reason: why the case cannot be read.
    """

    name: str
    seconds: dict[str, float]
    memory: float = 0.0
    gpu_memory: float | None = None
    reason: str | None = None


def forecast(cases: Iterable[BatchCase]) -> list[Forecast]:
    """Of every case; one that cannot be read says why."""
    known: dict[str, Forecast] = {}
    forecasts = []
    for case in cases:
        try:
            forecasts.append(_forecast(case, known))
        except Exception as error:
            forecasts.append(Forecast(case.name, {}, reason=" ".join(f"{type(error).__name__}: {error}".split())))
    return forecasts


def forecast_run(settings: RunSettings) -> Forecast:
    """Of one run. Raises what the run would."""
    return _tried(settings.name, settings, load_case(settings))


def table(forecasts: Sequence[Forecast]) -> str:
    """Markdown: seconds a method and memory of every case."""
    width = max([4, *(len(forecast.name) for forecast in forecasts)])
    on_gpu = any(forecast.gpu_memory is not None for forecast in forecasts)
    head, rule = (" GPU MiB |", "--------:|") if on_gpu else ("", "")
    lines = [
        f"| {'case':{width}} | seconds |    MiB |{head} methods |",
        f"|{'-' * (width + 2)}|--------:|-------:|{rule}---------|",
    ]
    for forecast in forecasts:
        seconds, memory = f"{sum(forecast.seconds.values()):.1f}", f"{forecast.memory / MIB:.0f}"
        if forecast.reason is not None:
            seconds, memory = "-", "-"
        there = f" {(forecast.gpu_memory or 0) / MIB:>7.0f} |" if on_gpu else ""
        methods = ", ".join(f"{method} {spent:.1f} s" for method, spent in forecast.seconds.items())
        lines.append(f"| {forecast.name:{width}} | {seconds:>7} | {memory:>6} |{there} {forecast.reason or methods} |")
    return "\n".join(lines)


def _forecast(case: BatchCase, known: dict[str, Forecast]) -> Forecast:
    settings = case.settings
    scan = load_case(settings)
    sizes = scan.operator.in_shape, scan.operator.out_shape
    kind = repr((sizes, settings.model_dump(exclude={"name": True, "input": True, "scan": {"seed"}})))
    if kind not in known:
        known[kind] = _tried(case.name, settings, scan)
    return replace(known[kind], name=case.name)


def _tried(name: str, settings: RunSettings, scan: Case) -> Forecast:
    seconds = {}
    prior = None
    on_gpu = "cuda" in (scan.measurements.device.type, getattr(scan.prior_device, "type", None))
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    if any(hot_start(method)[1] in METHODS for method in settings.methods):
        prior = load_prior(settings.sampling.prior)
    for method in settings.methods:
        if method in settings.networks:
            network = load_network(settings.networks[method]).to(scan.measurements.device)
            seconds[method] = _timed(partial(reconstruct, network, scan.operator, scan.measurements))
        elif hot_start(method)[1] in METHODS:
            assert prior is not None
            seconds[method] = _sampling(method, settings, scan, prior)
        else:
            seconds[method] = _iterating(method, scan, settings.options.get(method, {}))
    image = torch.zeros(scan.operator.in_shape, dtype=scan.operator.in_dtype)
    # Of the trial, and what it did not hold: samples, their stack, and the images of all methods.
    held = (2 * settings.sampling.samples + len(settings.methods)) * image.nbytes
    return Forecast(name, seconds, most_held() + held, torch.cuda.max_memory_allocated() if on_gpu else None)


def _sampling(method: str, settings: RunSettings, scan: Case, prior: Prior) -> float:
    """Seconds of all samples."""
    start, _ = hot_start(method)
    shape, dtype = scan.operator.in_shape, scan.operator.in_dtype
    init = None if start is None else torch.zeros(shape, dtype=dtype, device=scan.measurements.device)
    begun = time.perf_counter()
    whole = posterior(method, scan, prior, settings.sampling, init)
    once = time.perf_counter() - begun
    levels = whole.sigmas[:-1]
    # The middles of equal parts: conjugate gradients need fewest iterations at both ends.
    tried = min(STEPS, len(levels))
    chosen = levels[((torch.arange(tried) + 0.5) * len(levels) / tried).long()]
    part = replace(whole, sigmas=torch.cat([chosen, whole.sigmas[-1:]]))
    spent = 0.0
    for size in {len(members) for members in whole.groups(settings.sampling.samples)}:
        number = sum(len(members) == size for members in whole.groups(settings.sampling.samples))
        spent += number * _timed(partial(part.draw, range(size)))
    return once + spent * whole.steps / part.steps


def _iterating(method: str, scan: Case, options: Mapping[str, Any]) -> float:
    """Seconds of all iterations of a baseline."""
    compute = baseline(method, scan, options)
    default = inspect.signature(compute.func).parameters.get("iterations")
    if default is None:
        return _timed(compute)
    few, more = (_timed(partial(compute, iterations=number)) for number in ITERATIONS)
    each = max(0.0, more - few) / (ITERATIONS[1] - ITERATIONS[0])
    return few + (float(options.get("iterations", default.default)) - ITERATIONS[0]) * each


def _timed(compute: Callable[[], Any]) -> float:
    """Seconds of the second time: the first one plans and compiles."""
    compute()
    finish_queued_work()
    begun = time.perf_counter()
    compute()
    finish_queued_work()
    return time.perf_counter() - begun
