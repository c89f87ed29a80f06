"""A score network as a prior.

EDM preconditioning (Karras et al. 2022, eq. 7): `D(z) = c_skip z + c_out F(c_in z; c_noise)`, so that the network F
sees inputs and targets of unit variance at every noise level. The error of F is scaled by c_out, which falls with
sigma: that is why F may run in bfloat16 while the state stays in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv.priors.base import Prior
from scoreinv.priors.intensity import IntensityMap

PRECISIONS = ("auto", "fp32", "bf16")


class NetworkPrior(Prior):
    """A 2D denoising network, (batch, channels, y, x) and a noise label (batch,) to (batch, channels, y, x).

    Fully convolutional: images of any size are padded with the network value of air to the network's multiple.

    Args:
        network: diffusers' `UNet2DModel`, or a module called and answering like it.
        data_std: sigma_data of the preconditioning, network units.
        sigma_range: noise levels seen in training, network units.
        intensity: map from network units to image units.
        air: network value of what surrounds the patient.
        voxel_size: range of training voxel sizes, mm.
        errors: validation error as pairs (sigma, rms error), network units, for the card.
        multiple: image sides must be divisible by it.
        name: for messages.
        precision: of the network, "fp32", "bf16" or "auto": bf16 where the hardware has it.
    """

    ndim = 2

    def __init__(
        self,
        network: nn.Module,
        data_std: float = 0.5,
        sigma_range: tuple[float, float] = (0.002, 80.0),
        intensity: IntensityMap | None = None,
        air: float = 0.0,
        voxel_size: tuple[float, float] | None = None,
        errors: Sequence[tuple[float, float]] = (),
        multiple: int = 8,
        name: str = "network",
        precision: str = "auto",
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"NetworkPrior: precision is {precision!r}, expected one of {PRECISIONS}")
        self.network = network.eval()
        self.data_std = data_std
        self.sigma_min, self.sigma_max = sigma_range
        self.intensity = intensity or IntensityMap()
        self.air, self.voxel_size, self.name = air, voxel_size, name
        self.errors = tuple((float(s), float(e)) for s, e in errors)
        self.multiple, self.precision = multiple, precision

    @property
    def device(self) -> torch.device:
        """Where the network is; `denoise` moves slices there and back."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> NetworkPrior:
        """Move the network; returns itself."""
        self.network.to(device)
        return self

    def denoise(self, z: Tensor, sigma: float) -> Tensor:
        shape = z.shape
        images = z.reshape(-1, 1, *shape[-2:]).to(self.device)
        count = len(images)
        padding = [0, -shape[-1] % self.multiple, 0, -shape[-2] % self.multiple]
        images = nn.functional.pad(images, padding, value=self.air)
        if count == 1:
            # A lone image goes twice: products with a vector round unlike those with a matrix, and what becomes of an
            # image must not depend on its company.
            images = images.expand(2, -1, -1, -1)
        half = self.precision == "bf16" or (self.precision == "auto" and bf16_pays(self.device))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            x0 = precondition(self.network, images, sigma, self.data_std)
        return x0[:count, :, : shape[-2], : shape[-1]].reshape(shape).to(z)


def precondition(network: nn.Module, z: Tensor, sigma: float | Tensor, data_std: float) -> Tensor:
    """D(z; sigma) for z (batch, channels, y, x) and one sigma, or one each of shape (batch,)."""
    s = torch.as_tensor(sigma, dtype=z.dtype, device=z.device).expand(len(z)).reshape(-1, 1, 1, 1)
    total = (s**2 + data_std**2).sqrt()
    c_skip, c_out, c_in = (data_std / total) ** 2, s * data_std / total, 1 / total
    return c_skip * z + c_out * call(network, c_in * z, s.flatten())


def call(network: nn.Module, x: Tensor, sigma: Tensor) -> Tensor:
    """F(x; c_noise), x (batch, channels, y, x), sigma (batch,); in the dtype of x whatever the network computed in."""
    # diffusers embeds a time step of order 0 to 1000 by sines of periods 2 pi to 2e4 pi; 10 ln(sigma) spans them well.
    answer: Any = network(x, 10 * sigma.log())
    return getattr(answer, "sample", answer).to(x.dtype)


def bf16_pays(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
