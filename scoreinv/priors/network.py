"""A score network as a prior.

A denoiser's error is at most about sigma, which falls on the way down: that is why a network may run in bfloat16 while
the state stays in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv.priors.base import Prior
from scoreinv.priors.intensity import IntensityMap
from scoreinv.priors.parametrisation import EDM, Parametrisation, answer

PRECISIONS = ("auto", "fp32", "bf16")


class NetworkPrior(Prior):
    """A 2D network, (batch, channels, y, x) and a noise label (batch,) to (batch, channels, y, x).

    Fully convolutional: images of any size are padded with the network value of air to the network's multiple. Complex
    images go through a network of two channels as (real, imaginary), through one of one channel part by part.

    Args:
        network: diffusers' `UNet2DModel`, or a module called and answering like it.
        data_std: of clean images, network units.
        sigma_range: noise levels seen in training, network units; None for those of the parametrisation.
        intensity: map from network units to image units.
        air: network value of what surrounds the patient.
        voxel_size: range of training voxel sizes, mm.
        errors: validation error as pairs (sigma, rms error), network units, for the card.
        multiple: image sides must be divisible by it.
        name: for messages.
        precision: of the network, "fp32", "bf16" or "auto": bf16 where the hardware has it.
        parametrisation: what the network sees and answers; None for EDM with `data_std`.
        channels: of the image within the network's; those beyond them are a reference image's.
    """

    ndim = 2

    def __init__(
        self,
        network: nn.Module,
        data_std: float = 0.5,
        sigma_range: tuple[float, float] | None = None,
        intensity: IntensityMap | None = None,
        air: float = 0.0,
        voxel_size: tuple[float, float] | None = None,
        errors: Sequence[tuple[float, float]] = (),
        multiple: int = 8,
        name: str = "network",
        precision: str = "auto",
        parametrisation: Parametrisation | None = None,
        channels: int = 1,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"NetworkPrior: precision is {precision!r}, expected one of {PRECISIONS}")
        self.network = network.eval().requires_grad_(False)
        self.data_std = data_std
        self.parametrisation = parametrisation or EDM(data_std)
        self.sigma_min, self.sigma_max = sigma_range or self.parametrisation.sigma_range
        self.intensity = intensity or IntensityMap()
        self.air, self.voxel_size, self.name = air, voxel_size, name
        self.errors = tuple((float(s), float(e)) for s, e in errors)
        self.multiple, self.precision, self.channels = multiple, precision, channels
        self._reference: Tensor | None = None
        self._weight = 1.0
        self._weights: Mapping[str, Tensor] = {}
        self._compiled: Callable[..., Any] | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is; `denoise` moves slices there and back."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> NetworkPrior:
        """Move the network; returns itself."""
        self.network.to(device)
        return self

    def compiled(self) -> NetworkPrior:
        """This prior with its network compiled by torch, where it is neither differentiated nor adapted.

        Its answers change by rounding. The first call takes up to minutes, and so does the first of a second number of
        images; then any number goes.
        """
        prior = copy.copy(self)
        prior._compiled = torch.compile(self.network)
        return prior

    def conditioned(self, reference: Tensor, weight: float = 1.0) -> NetworkPrior:
        """This prior, told what the image goes with, by classifier-free guidance (Ho and Salimans 2022).

        Args:
            reference: (y, x) for one image, or (slices, y, x) for those of a volume; magnitudes of any unit where the
                intensity of images is found in the data, else the network's units for it.
            weight: of the reference: 0 ignores it, 1 believes it, more exaggerates it.

        Raises:
            TypeError: if the reference is not a real tensor of two or three axes.
            ValueError: if the reference is not finite or 0 everywhere, the network was not trained with one, or the
                weight is negative.
        """
        if not isinstance(reference, Tensor) or reference.is_complex() or reference.ndim not in (2, 3):
            kind = f"{reference.dtype} {tuple(reference.shape)}" if isinstance(reference, Tensor) else type(reference)
            raise TypeError(
                f"{self}.conditioned: reference is {kind}, expected a real tensor (y, x) or (slices, y, x); take "
                ".abs() of a complex image, torch.from_numpy of an array"
            )
        if not bool(torch.isfinite(reference).all()) or not bool(reference.any()):
            raise ValueError(
                f"{self}.conditioned: reference holds NaN or Inf, or nothing but 0; expected an image of the patient "
                "on this grid, with 0 where nothing was measured"
            )
        if not weight >= 0:
            raise ValueError(f"{self}.conditioned: weight is {weight}, expected at least 0")
        if self._references == 0:
            raise ValueError(
                f"{self}.conditioned: the network takes {self.channels} channels, all of them the image's; expected "
                "one that was trained with a reference"
            )
        if not self.intensity.fixed:
            reference = self.intensity.fitted(reference).to_network(reference)
        return self._seeing(reference, weight)

    @property
    def _references(self) -> int | None:
        """Channels the network takes beyond the image's; None if it does not say."""
        taken = getattr(getattr(self.network, "config", None), "in_channels", None)
        return None if taken is None else taken - self.channels

    def of_slices(self, indices: Tensor) -> NetworkPrior:
        if self._reference is None or self._reference.ndim == 2:
            return self
        if len(self._reference) <= int(indices.max()):
            raise ValueError(
                f"{self}: the reference has {len(self._reference)} slices, the volume at least "
                f"{int(indices.max()) + 1}; give a reference of the volume's shape"
            )
        return self._seeing(self._reference[indices.to(self._reference.device)], self._weight)

    def of_window(self, y: slice, x: slice) -> NetworkPrior:
        return self if self._reference is None else self._seeing(self._reference[..., y, x], self._weight)

    def _seeing(self, reference: Tensor, weight: float) -> NetworkPrior:
        prior = copy.copy(self)
        prior._reference, prior._weight = reference, weight
        return prior

    def slices(self, z: Tensor) -> tuple[NetworkPrior, Tensor]:
        return self, z if z.ndim > 2 else z[None]

    def adapted(self, weights: Mapping[str, Tensor]) -> NetworkPrior:
        prior = copy.copy(self)
        prior._weights = weights
        return prior

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        images, restore = self._to_channels(z)
        y, x = z.shape[-2:]
        padding = [0, -x % self.multiple, 0, -y % self.multiple]
        images = nn.functional.pad(images, padding, value=self.air)
        count = len(images)
        half = self.precision == "bf16" or (self.precision == "auto" and bf16_pays(self.device))
        if half and count == 1:
            # A lone image goes twice: in half precision products with a vector round unlike those with a matrix, and
            # what becomes of an image must not depend on its company.
            images = images.expand(2, -1, -1, -1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            x0 = self._guided(images, torch.full((len(images),), sigma, device=self.device), padding)
        return restore(x0[:count, :, :y, :x])

    def _guided(self, images: Tensor, sigma: Tensor, padding: list[int]) -> Tensor:
        if self._reference is None:
            return self.parametrisation.denoise(self._untold, images, sigma)
        reference = self._reference.to(images).reshape(-1, 1, *self._reference.shape[-2:])
        size = images.shape[-2] - padding[3], images.shape[-1] - padding[1]
        if tuple(reference.shape[-2:]) != size:
            raise ValueError(
                f"{self}: the reference has slices of {tuple(reference.shape[-2:])}, the image of {size}; resample the "
                "reference onto the image's grid"
            )
        reference = nn.functional.pad(reference, padding, value=self.air)
        # The parts of a complex image, or a lone image and its twin, share one reference.
        reference = reference.repeat_interleave(len(images) // len(reference), 0)

        def told(seen: Tensor) -> Tensor:
            def network(x: Tensor, label: Tensor) -> Tensor:
                return answer(self._call, torch.cat([x, seen], 1), label)

            return self.parametrisation.denoise(network, images, sigma)

        x0 = told(reference)
        return x0 if self._weight == 1 else torch.lerp(told(torch.zeros_like(reference)), x0, self._weight)

    def _untold(self, x: Tensor, label: Tensor) -> Any:
        # The null reference of training is zero.
        return self._call(nn.functional.pad(x, [0, 0, 0, 0, 0, self._references or 0]), label)

    def _call(self, x: Tensor, label: Tensor) -> Any:
        if not self._weights:
            # A call with weights replaced first looks for ties among all of them: milliseconds, as small images take.
            # What is compiled gives up its activations once they were used, and `linearise` wants them again.
            network = self.network if self._compiled is None or x.requires_grad else self._compiled
            return network(x, label)
        return torch.func.functional_call(self.network, dict(self._weights), (x, label))

    def _to_channels(self, z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """(images, channels, y, x) on the network's device, and the way back."""
        shape = z.shape
        if not z.is_complex():
            if self.channels > 1 and (z.ndim < 3 or shape[-3] != self.channels):
                raise ValueError(
                    f"{self}: image has shape {tuple(shape)}, expected (*batch, {self.channels}, y, x), with "
                    "an axis for the channels of the network"
                )
            images = z.reshape(-1, self.channels, *shape[-2:])
            return images.to(self.device), lambda x0: x0.reshape(shape).to(z)
        parts = torch.view_as_real(z.reshape(-1, *shape[-2:])).movedim(-1, 1)  # (images, 2, y, x)
        images = parts.reshape(-1, self.channels, *shape[-2:])

        def restore(x0: Tensor) -> Tensor:
            pairs = x0.reshape(parts.shape).movedim(1, -1).to(parts)
            return torch.view_as_complex(pairs.contiguous()).reshape(shape)

        return images.to(self.device), restore


def bf16_pays(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
