"""Training a score network, from the first step to a folder that `load_prior` reads.

The loss is EDM's (Karras et al. 2022, eq. 8): rms error of the preconditioned denoiser, weighted so that the network's
target has unit variance at every noise level. Batch and noise are functions of (seed, step, rank), and everything that
changes is in the checkpoint: a run that was killed continues as if it had not been.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scoreinv.priors.architectures import build_network
from scoreinv.priors.network import NetworkPrior, bf16_pays
from scoreinv.priors.parametrisation import EDM, answer
from scoreinv.priors.storage import save_prior
from scoreinv.training.card import card
from scoreinv.training.checkpoint import read_checkpoint, save_checkpoint, write_settings
from scoreinv.training.data import MODALITIES, load_groups
from scoreinv.training.meter import Meter
from scoreinv.training.modality import Modality
from scoreinv.training.settings import NetworkSettings, Phase, TrainSettings
from scoreinv.training.slices import CropSampler, rng_of

log = logging.getLogger("scoreinv")

VALIDATION_SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_PARTS = ("network", "average", "optimizer")


def train(settings: TrainSettings, out: Path, progress: bool = True) -> NetworkPrior:
    """Train a prior of slices; continues from `out/checkpoint.pt` if it is there.

    Beside the checkpoint stand the resolved settings, `config.yaml`, and the course of the loss, `log.jsonl`.

    Returns:
        The prior that was written to `out/prior`: moving average of the weights, with its validation errors.

    Raises:
        FileNotFoundError: if the data are missing.
        ValueError: if there are none, or the checkpoint is damaged or was made with other settings.
    """
    from accelerate import Accelerator, PartialState

    # PartialState names the device before the precision is chosen; an Accelerator fixes both at once.
    device = PartialState().device
    half = settings.precision == "bf16" or (settings.precision == "auto" and bf16_pays(device))
    accelerator = Accelerator(mixed_precision="bf16" if half else "no")
    checkpoint = out / "checkpoint.pt"
    saved = read_checkpoint(checkpoint, settings, _PARTS, accelerator.device) if checkpoint.is_file() else None
    sampler, validation = load_groups(settings.data, settings.seed)
    modality = MODALITIES[settings.data.kind]
    arguments = network_arguments(settings.network, modality)
    torch.manual_seed(settings.seed)
    network = build_network(arguments)
    average = copy.deepcopy(network).requires_grad_(False).to(accelerator.device)
    network = network.to(accelerator.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.01, betas=(0.9, 0.99))
    model, optimizer = accelerator.prepare(network, optimizer)

    step = 0
    if saved is not None:
        for part, name in zip((network, average, optimizer), _PARTS, strict=True):
            part.load_state_dict(saved[name])
        step = int(saved["step"])
        log.info("continuing from %s at step %d", checkpoint, step)
    total = sum(phase.steps for phase in settings.phases)
    if accelerator.is_main_process:
        write_settings(out, settings)
    meter = Meter(out / "log.jsonl" if accelerator.is_main_process else None, total, progress)
    while step < total:
        phase = _phase_at(settings.phases, step)
        rng = rng_of(settings.seed, step, accelerator.process_index)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _rate(step, settings.warmup, total)
        images = sampler.draw(rng, phase.batch, phase.crop).to(accelerator.device)
        with accelerator.autocast():
            loss = edm_loss(model, images, rng, settings)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        _update_average(average, network, min(settings.ema, (1 + step) / (10 + step)))
        meter.tick(step, float(loss.detach()))
        if accelerator.is_main_process and (step % settings.checkpoint_every == 0 or step == total):
            save_checkpoint(checkpoint, settings, step, network=network, average=average, optimizer=optimizer)
    prior = NetworkPrior(
        average,
        data_std=settings.data_std,
        sigma_range=settings.sigma_range,
        intensity=modality.intensity,
        air=modality.air,
        voxel_size=settings.data.voxel_size,
        multiple=2 ** (len(settings.network.channels) - 1),
        name=settings.name,
        channels=modality.channels,
    )
    crop = settings.phases[-1].crop
    prior.errors = validate(prior, validation, crop, settings.seed)
    if accelerator.is_main_process:
        save_prior(out / "prior", prior, arguments, card(settings, prior, total))
    return prior


def edm_loss(model: nn.Module, images: Tensor, rng: np.random.Generator, settings: TrainSettings) -> Tensor:
    """Mean of lambda(sigma) |D(x + sigma n; sigma) - x|^2 with lambda = (sigma^2 + s^2) / (sigma s)^2, s = data_std.

    `images` are (batch, channels, y, x); channels beyond those of the modality's image are told without noise.
    """
    channels = MODALITIES[settings.data.kind].channels
    clean, reference = images[:, :channels], images[:, channels:]
    mean, spread = settings.log_sigma
    low, high = settings.sigma_range
    sigma = np.exp(rng.normal(mean, spread, len(clean))).clip(low, high).astype(np.float32)
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(clean.device)
    s = torch.from_numpy(sigma).to(clean.device)

    def told(x: Tensor, label: Tensor) -> Tensor:
        return answer(model, torch.cat([x, reference], 1), label)

    denoised = EDM(settings.data_std).denoise(told, clean + s[:, None, None, None] * noise, s)
    weight = (s**2 + settings.data_std**2) / (s * settings.data_std) ** 2
    return (weight[:, None, None, None] * (denoised - clean) ** 2).mean()


def validate(
    prior: NetworkPrior, sampler: CropSampler, crop: int, seed: int, images: int = 24
) -> tuple[tuple[float, float], ...]:
    """Pairs (sigma, rms denoising error) on validation crops, network units."""
    clean = sampler.draw(rng_of(seed, 0, 0, 1), images, crop)[:, : prior.channels]
    noise = torch.from_numpy(rng_of(seed, 0, 0, 2).standard_normal(clean.shape, dtype=np.float32))
    low, high = prior.sigma_min, prior.sigma_max
    errors = []
    with torch.no_grad():
        for sigma in (s for s in VALIDATION_SIGMAS if low <= s <= high):
            denoised = torch.cat([prior.denoise(z, sigma) for z in (clean + sigma * noise).split(8)])
            errors.append((sigma, float((denoised - clean).square().mean().sqrt())))
    return tuple(errors)


def network_arguments(settings: NetworkSettings, modality: Modality) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DModel: attention at the lowest level only, where it is cheap."""
    levels = len(settings.channels)
    return {
        "in_channels": modality.channels + modality.references,
        "out_channels": modality.channels,
        "layers_per_block": settings.layers_per_block,
        "block_out_channels": list(settings.channels),
        "down_block_types": ["DownBlock2D"] * (levels - 1) + ["AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D"] + ["UpBlock2D"] * (levels - 1),
        "norm_num_groups": settings.norm_groups,
        "attention_head_dim": settings.attention_head_dim,
    }


def _phase_at(phases: Sequence[Phase], step: int) -> Phase:
    for phase in phases:
        if step < phase.steps:
            return phase
        step -= phase.steps
    return phases[-1]


def _rate(step: int, warmup: int, total: int) -> float:
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * step / total))


def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mean, current in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(current, 1 - decay)
