"""A mixture of Gaussians: the simplest prior with more than one mode, exact at every noise level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scoreinv.priors.base import Prior
from scoreinv.priors.gaussian import GaussianPrior


class GaussianMixturePrior(Prior):
    """sum_k weight_k N(mean_k, covariance_k) over real images, in network units.

    Args:
        weights: (components,), positive; scaled to sum 1.
        means: (components, *image).
        covariances: of each component, whatever `GaussianPrior` takes.

    Raises:
        ValueError: if these do not fit together.
    """

    name = "mixture"

    def __init__(self, weights: Tensor, means: Tensor, covariances: Sequence[float | Tensor] | Tensor) -> None:
        if not len(weights) == len(means) == len(covariances) or not bool((weights > 0).all()):
            raise ValueError(
                f"GaussianMixturePrior: got {len(weights)} weights, {len(means)} means and {len(covariances)} "
                "covariances; expected as many of each, and positive weights"
            )
        self.weights = (weights / weights.sum()).to(means)
        self.components = [GaussianPrior(mean, C) for mean, C in zip(means, covariances, strict=True)]
        self.ndim = means.ndim - 1
        mean = torch.einsum("k,k...->...", self.weights, means)
        spread = torch.stack([(means[k] - mean).square().mean() + c.data_std**2 for k, c in enumerate(self.components)])
        self.data_std = float((self.weights * spread).sum().sqrt())

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        """The components' estimates, weighted by how likely each is to have made z."""
        estimates = torch.stack([c.denoise(z, sigma) for c in self.components])
        log_likelihoods = torch.stack([c.log_density(z, sigma) for c in self.components])
        shape = (-1, *[1] * (log_likelihoods.ndim - 1))
        shares = (log_likelihoods + self.weights.log().reshape(shape)).softmax(0)
        return (shares.reshape(*shares.shape, *[1] * self.ndim) * estimates).sum(0)
