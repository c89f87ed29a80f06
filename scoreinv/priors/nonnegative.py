"""A prior of images that cannot be negative, such as activity."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from scoreinv.priors.base import Prior
from scoreinv.priors.intensity import IntensityMap


class NonNegative(Prior):
    """Another prior, of real images, whose estimates below 0 in the image's unit count as 0.

    The estimate alone is clamped, never the noisy state; the Jacobian is that of the prior, so that measurements can
    still raise a voxel from 0.

    Args:
        prior: of any dimension.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self.ndim, self.channels, self.data_std = prior.ndim, prior.channels, prior.data_std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max
        self.intensity, self.voxel_size, self.name = prior.intensity, prior.voxel_size, prior.name

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        return self._clamped(self.prior.denoise(z, sigma))

    def linearise(self, z: Tensor, sigma: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        x0, vjp = self.prior.linearise(z, sigma)
        return self._clamped(x0), vjp

    def at(self, step: int) -> Prior:
        return NonNegative(self.prior.at(step))

    def of_slices(self, indices: Tensor) -> Prior:
        return NonNegative(self.prior.of_slices(indices))

    def of_window(self, y: slice, x: slice) -> Prior:
        return NonNegative(self.prior.of_window(y, x))

    def scaled(self, intensity: IntensityMap) -> Prior:
        return NonNegative(self.prior.scaled(intensity))

    def slices(self, z: Tensor) -> tuple[Prior, Tensor]:
        return self.prior.slices(z)

    def adapted(self, weights: Mapping[str, Tensor]) -> Prior:
        return NonNegative(self.prior.adapted(weights))

    def error(self, sigma: float) -> float:
        return self.prior.error(sigma)

    def __repr__(self) -> str:
        return repr(self.prior)

    def _clamped(self, x0: Tensor) -> Tensor:
        return x0.clamp(min=float(self.intensity.to_network(x0.new_zeros(()))))
