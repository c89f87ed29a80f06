"""Engines of the non-uniform Fourier transform, without scale or coils.

y(k) = sum over r of x(r) exp(-i k . (r - n // 2)), and its exact transpose, for many images at once.
"""

from __future__ import annotations

import importlib
import logging
import math
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger("scoreinv")

BACKENDS = ("auto", "finufft", "cufinufft", "torchkbnufft")
_FORWARD, _ADJOINT = 2, 1  # finufft's types
_SIGN = {_FORWARD: -1, _ADJOINT: 1}
_TOLERANCE = 1e-6
_GPU_TOLERANCE = 1e-5  # what single precision reaches
_OVERSAMPLING = 1.25
_PLANS = 4  # kept at a time: both directions, for whole chunks and for what is left over
_WORKSPACE = 2**26  # complex numbers of a plan's oversampled grids: 1 GiB
_TABLE = 2**16  # entries per sample of torchkbnufft's interpolation tables; its error falls with their inverse


class Nufft(ABC):
    """Images (items, *image) complex64 <-> samples (items, points) complex64.

    Args:
        points: (points, d), rad per voxel, axes in the order of the image's.
        image_shape: (*image).
    """

    def __init__(self, points: Tensor, image_shape: tuple[int, ...]) -> None:
        self.points = points
        self.image_shape = image_shape

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(items, *image) -> (items, points)."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """(items, points) -> (items, *image)."""


class _Planned(Nufft):
    """By plans that know the points, of which a few are kept; they stay behind when it goes to another process."""

    def __init__(self, points: Tensor, image_shape: tuple[int, ...]) -> None:
        super().__init__(points, image_shape)
        self._plans: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.points, self.image_shape)

    def forward(self, x: Tensor) -> Tensor:
        return self._execute(_FORWARD, x).reshape(len(x), len(self.points))

    def adjoint(self, y: Tensor) -> Tensor:
        return self._execute(_ADJOINT, y).reshape(len(y), *self.image_shape)

    @abstractmethod
    def _execute(self, kind: int, data: Tensor) -> Tensor:
        """Transforms of all items, by a plan under the lock, as one has one workspace."""

    def _plan(self, key: tuple[int, ...], make: Callable[[], Any]) -> Any:
        if key not in self._plans:
            while len(self._plans) >= _PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = make()
        return self._plans[key]


class Finufft(_Planned):
    """finufft on the CPU [Barnett, Magland, af Klinteberg 2019, SIAM J. Sci. Comput. 41:C479-C504], error 1e-6.

    It computes in double precision on a grid oversampled 1.25 times. In single precision, positions are rounded to 1e-5
    of a large image and 1e-5 needs a grid oversampled twice, which is less accurate and no faster.
    """

    def _execute(self, kind: int, data: Tensor) -> Tensor:
        values = data.to(torch.complex128).contiguous().resolve_conj().numpy()
        items, threads = len(values), torch.get_num_threads()

        def make() -> Any:
            grid = math.prod(_OVERSAMPLING * n for n in self.image_shape)
            at_once = max(1, min(threads, int(_WORKSPACE / grid)))
            options = {"nthreads": threads, "maxbatchsize": at_once}
            return _finufft_plan(kind, self.points, self.image_shape, _TOLERANCE, items, **options)

        with self._lock:
            result = self._plan((kind, items, threads), make).execute(values)
        return torch.from_numpy(result).to(torch.complex64)


class CuFinufft(_Planned):
    """cufinufft on an NVIDIA GPU [Shih et al. 2021, PDSEC, arXiv:2102.08463], error about 1e-5, in single precision.

    Both directions spread by the same kernel at the same rounded points, so that they stay each other's adjoint.
    """

    def _execute(self, kind: int, data: Tensor) -> Tensor:
        values, device = data.contiguous().resolve_conj(), data.device
        stream = torch.cuda.current_stream(device).cuda_stream

        def make() -> Any:
            import cufinufft

            shape, options = self.image_shape, {"gpu_device_id": device.index, "gpu_stream": stream}
            plan = cufinufft.Plan(kind, shape, len(values), _GPU_TOLERANCE, _SIGN[kind], "complex64", **options)
            plan.setpts(*self.points.T.to(device, torch.float32).contiguous())
            return plan

        with self._lock:
            result: Tensor = self._plan((kind, len(values), stream), make).execute(values)
        return result


class KaiserBessel(Nufft):
    """torchkbnufft on any device, error about 2e-5 [Muckley et al. 2020, ISMRM Workshop on Data Sampling]."""

    @cached_property
    def _frequencies(self) -> Tensor:
        return self.points.to(torch.float32).T.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        transform, _ = _kaiser_bessel(self.image_shape, x.device, _TABLE)
        return transform(x[None], self._frequencies)[0]

    def adjoint(self, y: Tensor) -> Tensor:
        _, transform = _kaiser_bessel(self.image_shape, y.device, _TABLE)
        return transform(y[None], self._frequencies)[0]


def engine(backend: str, points: Tensor, image_shape: tuple[int, ...]) -> Nufft:
    """The engine of this name; "auto" is finufft on the CPU, elsewhere cufinufft if it is there, or torchkbnufft.

    Raises:
        ImportError: for cufinufft where it is not installed.
        ValueError: for an unknown name, or finufft or cufinufft where the points are not on their device.
    """
    if backend not in BACKENDS:
        raise ValueError(f"NonCartesianMRI: backend is {backend!r}, expected one of {', '.join(map(repr, BACKENDS))}")
    place = points.device.type
    chosen = _fastest(place) if backend == "auto" else backend
    home = {"finufft": ("cpu", "the CPU"), "cufinufft": ("cuda", "an NVIDIA GPU")}.get(chosen)
    if home is not None and home[0] != place:
        raise ValueError(
            f"NonCartesianMRI: backend {chosen!r} runs on {home[1]}, the trajectory is on {points.device}; take 'auto'"
        )
    if chosen == "cufinufft" and not _has_cufinufft():
        raise ImportError("NonCartesianMRI: backend 'cufinufft' needs cufinufft: pip install cufinufft; or take 'auto'")
    log.debug("NonCartesianMRI on %s: %s transforms", points.device, chosen)
    engines: dict[str, Callable[[Tensor, tuple[int, ...]], Nufft]]
    engines = {"finufft": Finufft, "cufinufft": CuFinufft, "torchkbnufft": KaiserBessel}
    return engines[chosen](points, image_shape)


def _fastest(place: str) -> str:
    if place == "cpu":
        return "finufft"
    return "cufinufft" if place == "cuda" and _has_cufinufft() else "torchkbnufft"


@cache
def _has_cufinufft() -> bool:
    """Whether it loads, which it does not beside libraries of another CUDA."""
    try:
        importlib.import_module("cufinufft")
    except (ImportError, OSError) as error:
        log.debug("cufinufft: %s", error)
        return False
    return True


def point_spread(points: Tensor, shape: tuple[int, ...], weights: Tensor | None = None) -> NDArray[np.complex128]:
    """sum over k of w_k exp(i k . d) for the offsets d = -(n // 2), ... of every axis, (*shape); error 1e-9 or so."""
    plan = _finufft_plan(_ADJOINT, points, shape, 1e-9, nthreads=torch.get_num_threads())
    values = torch.ones(len(points)) if weights is None else weights
    return plan.execute(values.cpu().to(torch.complex128).numpy())


@lru_cache(maxsize=4)
def _kaiser_bessel(image_shape: tuple[int, ...], device: torch.device, table: int) -> tuple[Any, Any]:
    """The transform and its adjoint; their tables take seconds to make, and serve every trajectory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchkbnufft uses what torch has deprecated
        import torchkbnufft

        options = {"im_size": image_shape, "table_oversamp": table, "device": device}
        return torchkbnufft.KbNufft(**options), torchkbnufft.KbNufftAdjoint(**options)


def _finufft_plan(
    kind: int, points: Tensor, shape: tuple[int, ...], tolerance: float, items: int = 1, **options: int
) -> Any:
    import finufft

    # The oversampling is named, since it could differ between a transform and its adjoint, which then are none.
    plan = finufft.Plan(kind, shape, items, tolerance, _SIGN[kind], "complex128", upsampfac=_OVERSAMPLING, **options)
    plan.setpts(*points.T.to("cpu", torch.float64).contiguous().numpy())
    return plan
