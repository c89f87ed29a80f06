"""Training a learned reconstruction, from the first step to a folder that `load_network` reads.

Batches are functions of (seed, step), and everything that changes is in the checkpoint: a run that was killed continues
as if it had not been.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import torch

from scoreinv.baselines.learned import LearnedNetwork, TrainingScans
from scoreinv.baselines.networks import reconstruct, save_network
from scoreinv.metrics import HOUNSFIELD, psnr, ssim, to_attenuation
from scoreinv.operators import ConeBeamCT
from scoreinv.training.checkpoint import read_checkpoint, save_checkpoint, write_settings
from scoreinv.training.learned.card import card
from scoreinv.training.learned.draws import some_views
from scoreinv.training.learned.settings import LearnedSettings
from scoreinv.training.meter import Meter
from scoreinv.training.pair_source import PairSource
from scoreinv.training.pairs import Pair
from scoreinv.training.slices import rng_of

log = logging.getLogger("scoreinv")

_PARTS = ("network", "optimizer")


def train_network(settings: LearnedSettings, out: Path, progress: bool = True) -> LearnedNetwork:
    """Train by AdamW; continues from `out/checkpoint.pt` if it is there. On a GPU where there is one.

    Beside the checkpoint stand the resolved settings, `config.yaml`, and the course of the loss, `log.jsonl`.

    Returns:
        The network that was written to `out/network`.

    Raises:
        FileNotFoundError: if data or the network to start from are missing.
        ValueError: if there are no data, the network to start from has another configuration, or the checkpoint is
            damaged or was made with other settings.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = out / "checkpoint.pt"
    saved = read_checkpoint(checkpoint, settings, _PARTS, device) if checkpoint.is_file() else None
    source = PairSource(settings.data, settings.seed)
    validation = source.validation()
    torch.manual_seed(settings.seed)
    network = settings.first_network().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    step = 0
    if saved is not None:
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        step = int(saved["step"])
        log.info("continuing from %s at step %d", checkpoint, step)
    write_settings(out, settings)
    meter = Meter(out / "log.jsonl", settings.steps, progress)
    network.train()
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        loss = settings.loss(network, source, rng_of(settings.seed, step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        meter.tick(step, float(loss.detach()))
        if step % settings.checkpoint_every == 0 or step == settings.steps:
            save_checkpoint(checkpoint, settings, step, network=network, optimizer=optimizer)
    pair = validation[0] if validation else source.draw(rng_of(settings.seed, 0))
    network.trained_on = TrainingScans.of(pair.geometry, pair.grid, settings.views)
    scores = {views: validate(network, validation, views) for views in sorted(set(settings.views))}
    save_network(out / "network", network, settings.name, card(settings, network, source, scores))
    return network.eval()


def validate(network: LearnedNetwork, pairs: list[Pair], views: int) -> tuple[float, float]:
    """Mean PSNR in dB and SSIM of reconstructions from evenly spread views, within the window; NaN without pairs."""
    scores = []
    low, high = (float(to_attenuation(torch.tensor(hu))) for hu in HOUNSFIELD.window)
    for pair in pairs:
        geometry, projections = some_views(pair, (np.arange(views) + 0.5) / views)
        image = reconstruct(network, ConeBeamCT(geometry, pair.grid), projections)
        images = image.clamp(low, high), pair.attenuation.clamp(low, high)
        scores.append((psnr(*images), ssim(*images)))
    values = np.asarray(scores or [(np.nan, np.nan)]).mean(0)
    return float(values[0]), float(values[1])
