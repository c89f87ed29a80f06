"""Mean and spread of samples that are seen once and forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Moments:
    """Mean and variance of images added one by one, in float64; memory for two images whatever their number.

    Welford 1962; groups are joined as in Chan, Golub and LeVeque 1983, eq. 2.1. The variance of complex images is that
    of both parts together.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None  # sum of |x - mean|^2

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Moments:
        """As they were when `state` was asked for."""
        moments = cls()
        moments.count, moments._mean, moments._squares = state["count"], state["mean"], state["squares"]
        return moments

    @property
    def state(self) -> dict[str, Any]:
        """Plain values and tensors to keep: count, mean, and sum of squared distances from it."""
        return {"count": self.count, "mean": self._mean, "squares": self._squares}

    def add(self, image: Tensor) -> None:
        """Take another image, (*image) as those before it."""
        x = image.detach().to(torch.complex128 if image.is_complex() else torch.float64)
        if self._mean is None or self._squares is None:
            self._mean, self._squares = torch.zeros_like(x), torch.zeros_like(x.real)
        if x.shape != self._mean.shape or x.dtype != self._mean.dtype:
            raise ValueError(
                f"Moments: image {self.count} has shape {tuple(x.shape)} and dtype {x.dtype}, expected "
                f"{tuple(self._mean.shape)} and {self._mean.dtype} as those before it; use one Moments per posterior"
            )
        self.count += 1
        step = x - self._mean
        self._mean = self._mean + step / self.count
        self._squares = self._squares + (step.conj() * (x - self._mean)).real

    def join(self, other: Moments) -> None:
        """Take all images of another, such as one of another process."""
        if other._mean is None or other._squares is None:
            return
        if self._mean is None or self._squares is None:
            self.count, self._mean, self._squares = other.count, other._mean, other._squares
            return
        total = self.count + other.count
        step = other._mean - self._mean
        self._mean = self._mean + step * (other.count / total)
        self._squares = self._squares + other._squares + step.abs().square() * (self.count * other.count / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """(*image), float64 or complex128.

        Raises:
            ValueError: if no image was added.
        """
        if self._mean is None:
            raise ValueError("Moments: no image was added, expected at least 1")
        return self._mean

    @property
    def std(self) -> Tensor:
        """(*image), float64, of divisor count - 1.

        Raises:
            ValueError: if fewer than two images were added.
        """
        if self._squares is None or self.count < 2:
            raise ValueError(f"Moments: a spread of {self.count} images, expected at least 2; draw more samples")
        return (self._squares / (self.count - 1)).sqrt()
