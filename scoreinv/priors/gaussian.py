"""A Gaussian prior: exact at every noise level, and so the oracle for everything built on top."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.priors.base import Prior


class GaussianPrior(Prior):
    """N(mean, covariance) over images, in network units.

    Args:
        mean: (*image).
        covariance: scalar for covariance * I, (*image) for a diagonal, or (n, n) over the flattened image.

    Raises:
        ValueError: if the covariance fits none of these or is not positive.
    """

    name = "gaussian"

    def __init__(self, mean: Tensor, covariance: float | Tensor) -> None:
        if torch.is_tensor(covariance) and covariance.is_complex():
            raise ValueError("GaussianPrior: covariance is complex; expected a real one, per real component")
        self.mean = mean
        self.ndim = mean.ndim
        covariance = torch.as_tensor(covariance, dtype=mean.real.dtype, device=mean.device)
        n = mean.numel()
        if covariance.shape in {torch.Size([]), mean.shape}:
            self._basis = None
            self._variances = covariance.expand(mean.shape)
        elif covariance.shape == (n, n):
            variances, self._basis = torch.linalg.eigh(covariance)
            if float(variances[0]) < -1e-4 * float(variances[-1].abs()):
                raise ValueError(
                    f"GaussianPrior: covariance has the eigenvalue {variances[0]:.3g}; expected none below 0"
                )
            self._variances = variances.clamp(min=0)
        else:
            raise ValueError(
                f"GaussianPrior: covariance has shape {tuple(covariance.shape)}, expected a scalar, "
                f"{tuple(mean.shape)} or ({n}, {n})"
            )
        if not bool((self._variances >= 0).all()) or float(self._variances.sum()) == 0:
            raise ValueError("GaussianPrior: covariance must be positive")
        self.data_std = float(self._variances.mean().sqrt())

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        """mean + C (C + sigma^2 I)^-1 (z - mean)."""
        gain = self._variances / (self._variances + sigma**2)
        if self._basis is None:
            return self.mean + gain * (z - self.mean)
        deviation = (z - self.mean).flatten(-self.ndim)
        basis = self._basis.to(deviation.dtype)
        return self.mean + ((deviation @ basis * gain) @ basis.mT).unflatten(-1, self.mean.shape)

    def log_density(self, z: Tensor, sigma: float) -> Tensor:
        """log p(z) of z = x0 + sigma n, real, up to 2 pi; (*batch, *image) -> (*batch)."""
        deviation = (z - self.mean).flatten(-self.ndim)
        if self._basis is not None:
            deviation = deviation @ self._basis
        variances = self._variances.flatten() + sigma**2
        return -0.5 * (deviation**2 / variances + variances.log()).sum(-1)
