"""Denoisers of deepinv as priors, and priors as its denoisers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv.interop._deepinv_layout import check_real
from scoreinv.priors import IntensityMap, Prior


class DenoiserPrior(Prior):
    """A denoiser of deepinv as a prior; made by `prior_from_deepinv`, which says what is what."""

    def __init__(
        self,
        denoiser: nn.Module,
        ndim: int,
        data_std: float,
        sigma_range: tuple[float, float],
        intensity: IntensityMap | None,
        channels: int,
    ) -> None:
        if ndim not in (2, 3) or channels not in (1, 2):
            raise ValueError(f"prior_from_deepinv: ndim {ndim} and channels {channels}; expected 2 or 3, and 1 or 2")
        self.denoiser = denoiser.eval()
        self.ndim, self.channels, self.data_std = ndim, channels, data_std
        self.sigma_min, self.sigma_max = sigma_range
        self.intensity = intensity or IntensityMap()
        self.name = type(denoiser).__name__

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        """E[x0 | z], (*batch, *image), real or complex.

        Raises:
            ValueError: if a denoiser of complex images is given real ones, or its answer has another shape.
        """
        if self.channels == 2 and not z.is_complex():
            raise ValueError(f"{self}: image is {z.dtype}, expected a complex one for its two channels")
        image = z.shape[-self.ndim :]
        parts = torch.view_as_real(z).movedim(-1, -1 - self.ndim) if z.is_complex() else z
        x = parts.reshape(-1, self.channels, *image)
        weight = next(self.denoiser.parameters(), x)
        if hasattr(self.denoiser, "restart"):
            # TVDenoiser and TGVDenoiser go on from their last answer unless told not to; what becomes of an image must
            # not depend on the one before.
            self.denoiser.restart = True  # type: ignore[assignment]
        x0 = self.denoiser(x.to(weight), sigma)
        if x0.shape != x.shape:
            raise ValueError(
                f"{self}: the denoiser made {tuple(x0.shape)} of images {tuple(x.shape)}, expected the same shape; "
                "choose one of this many channels and axes"
            )
        x0 = x0.to(x).reshape(parts.shape)
        return torch.view_as_complex(x0.movedim(-1 - self.ndim, -1).contiguous()) if z.is_complex() else x0


class PriorDenoiser(nn.Module):
    """A prior as deepinv's algorithms call it; made by `prior_to_deepinv`, which says what is what."""

    def __init__(self, prior: Prior, intensity: IntensityMap | None = None, complex_channels: bool = False) -> None:
        super().__init__()
        self.prior, self.intensity = prior, intensity or prior.intensity
        self.complex_channels = complex_channels

    def forward(self, x: Tensor, sigma: float | Tensor | Sequence[float], **_: Any) -> Tensor:
        """E[image | x] for x = image + sigma n.

        Args:
            x: (batch, channels, *image), image units, any float dtype; the prior computes in float32.
            sigma: one for all or one for each item of the batch, image units. 0 leaves x as it is. Levels below what
                the prior knows are treated as its lowest, those above as its highest.

        Raises:
            ValueError: if x has too few axes, if there are neither one nor `batch` sigmas, or not two channels where
                these are complex.
            TypeError: if x is complex.

        Warns:
            UserWarning: if there is more noise than the prior knows, since some of it stays.
        """
        check_real(x, f"{self.prior} in deepinv: image")
        if x.ndim < 2 + self.prior.ndim:
            raise ValueError(
                f"{self.prior}: image of shape {tuple(x.shape)}, expected (batch, channels, *image) with "
                f"{self.prior.ndim} image axes; add the missing ones with unsqueeze"
            )
        levels = [self._level(value) for value in _per_item(sigma, len(x))]
        z = self.intensity.to_network(x.float())
        if self.complex_channels:
            if x.shape[1] != 2:
                raise ValueError(f"{self.prior}: image has {x.shape[1]} channels, expected 2, its complex parts")
            z = torch.view_as_complex(z.movedim(1, -1).contiguous())
        groups = {level: [i for i, other in enumerate(levels) if other == level] for level in levels}
        answers = [z[items] if level == 0 else self.prior.denoise(z[items], level) for level, items in groups.items()]
        order = torch.tensor([i for items in groups.values() for i in items], device=x.device).argsort()
        x0 = torch.cat(answers)[order]
        if self.complex_channels:
            x0 = torch.view_as_real(x0).movedim(-1, 1)
        return self.intensity.to_image(x0).to(x.dtype)

    def _level(self, sigma: float) -> float:
        level = sigma / abs(self.intensity.scale)
        if level > self.prior.sigma_max:
            warnings.warn(
                f"{self.prior} in deepinv: asked for more noise than the {self.prior.sigma_max:g} it knows (network "
                "units), some of it will stay; start the algorithm at a lower level",
                UserWarning,
                stacklevel=3,
            )
        return 0.0 if level == 0 else min(max(level, self.prior.sigma_min), self.prior.sigma_max)


def _per_item(sigma: float | Tensor | Sequence[float], count: int) -> list[float]:
    values: list[float] = torch.as_tensor(sigma).flatten().tolist()
    if len(values) not in (1, count):
        raise ValueError(
            f"prior_to_deepinv: {len(values)} noise levels for a batch of {count}; expected one for all or one for "
            "each item, maps of sigma are not known to a prior"
        )
    return values * count if len(values) == 1 else values
