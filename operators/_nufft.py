"""Engines of the non-uniform Fourier transform, without scale or coils.

y(k) = sum over r of x(r) exp(-i k . (r - n // 2)), and its exact transpose, for many images at once.
"""

from __future__ import annotations

import logging
import math
import threading
import warnings
from abc import ABC, abstractmethod
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger("scoreinv")

BACKENDS = ("auto", "finufft", "torchkbnufft")
_FORWARD, _ADJOINT = 2, 1  # finufft's types
_TOLERANCE = 1e-6
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


class Finufft(Nufft):
    """finufft on the CPU [Barnett, Magland, af Klinteberg 2019, SIAM J. Sci. Comput. 41:C479-C504], error 1e-6.

    It computes in double precision on a grid oversampled 1.25 times. In single precision, positions are rounded to 1e-5
    of a large image and 1e-5 needs a grid oversampled twice, which is less accurate and no faster.
    """

    def __init__(self, points: Tensor, image_shape: tuple[int, ...]) -> None:
        super().__init__(points, image_shape)
        self._plans: dict[tuple[int, int, int], Any] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Finufft, (self.points, self.image_shape)  # plans stay behind, and are made again when needed

    def forward(self, x: Tensor) -> Tensor:
        return self._execute(_FORWARD, x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._execute(_ADJOINT, y)

    def _execute(self, kind: int, data: Tensor) -> Tensor:
        values = data.to(torch.complex128).contiguous().resolve_conj().numpy()
        with self._lock:  # a plan has one workspace
            result = self._plan(kind, len(values)).execute(values)
        shape = (len(self.points),) if kind == _FORWARD else self.image_shape
        return torch.from_numpy(result).to(torch.complex64).reshape(len(values), *shape)

    def _plan(self, kind: int, items: int) -> Any:
        threads = torch.get_num_threads()
        key = (kind, items, threads)
        if key not in self._plans:
            while len(self._plans) >= _PLANS:
                self._plans.pop(next(iter(self._plans)))
            grid = math.prod(_OVERSAMPLING * n for n in self.image_shape)
            at_once = max(1, min(threads, int(_WORKSPACE / grid)))
            self._plans[key] = _finufft_plan(
                kind, self.points, self.image_shape, _TOLERANCE, items, nthreads=threads, maxbatchsize=at_once
            )
        return self._plans[key]


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
    """The engine of this name; "auto" is finufft on the CPU and torchkbnufft elsewhere.

    Raises:
        ValueError: for an unknown name, or finufft where the points are not on the CPU.
    """
    if backend not in BACKENDS:
        raise ValueError(f"NonCartesianMRI: backend is {backend!r}, expected one of {', '.join(map(repr, BACKENDS))}")
    on_cpu = points.device.type == "cpu"
    if backend == "finufft" and not on_cpu:
        raise ValueError(
            f"NonCartesianMRI: backend 'finufft' runs on the CPU, the trajectory is on {points.device}; take 'auto'"
        )
    chosen = ("finufft" if on_cpu else "torchkbnufft") if backend == "auto" else backend
    log.debug("NonCartesianMRI on %s: %s transforms", points.device, chosen)
    return Finufft(points, image_shape) if chosen == "finufft" else KaiserBessel(points, image_shape)


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

    sign = -1 if kind == _FORWARD else 1
    # The oversampling is named, since it could differ between a transform and its adjoint, which then are none.
    plan = finufft.Plan(kind, shape, items, tolerance, sign, "complex128", upsampfac=_OVERSAMPLING, **options)
    plan.setpts(*points.T.to("cpu", torch.float64).contiguous().numpy())
    return plan
