"""Training DeepSparse, one stage a run, from the first step to a folder that `load_deepsparse` reads.

Pretraining and the first step of finetuning learn everything from n views for points and 24 for the volume of features.
The second step gives the volume n views only: encoder and codebooks stay as they are, batch statistics too (the
released code forgets those), and the denoising layers learn to make of the codes of few views those of many.
Batches are functions of (seed, step), and everything that changes is in the checkpoint: a run that was killed continues
as if it had not been.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scoreinv.baselines.deepsparse import DiCE, TrainingScans, deepsparse, load_deepsparse, save_deepsparse
from scoreinv.baselines.deepsparse.storage import check_configuration
from scoreinv.metrics import HOUNSFIELD, psnr, ssim
from scoreinv.operators import ConeBeamCT
from scoreinv.training.checkpoint import read_checkpoint, save_checkpoint, write_settings
from scoreinv.training.deepsparse.batch import Batch, draw_batch
from scoreinv.training.deepsparse.card import card
from scoreinv.training.deepsparse.settings import DeepSparseSettings
from scoreinv.training.meter import Meter
from scoreinv.training.pair_source import PairSource
from scoreinv.training.pairs import Pair
from scoreinv.training.slices import rng_of

log = logging.getLogger("scoreinv")

_PARTS = ("network", "optimizer")
_VQ_WEIGHT, _DENOISING_WEIGHT = 0.1, 1.0


def train_deepsparse(settings: DeepSparseSettings, out: Path, progress: bool = True) -> DiCE:
    """Train one stage; continues from `out/checkpoint.pt` if it is there. On a GPU where there is one.

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
    network = starting_network(settings).to(device)
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
        batch = draw_batch(source, rng_of(settings.seed, step), settings, network).to(device)
        loss = stage_loss(network, batch, settings.stage)
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
    save_deepsparse(out / "network", network, settings.name, card(settings, network, source, scores))
    return network.eval()


def starting_network(settings: DeepSparseSettings) -> DiCE:
    """The network of a stage before its first step, frozen where the stage freezes it."""
    torch.manual_seed(settings.seed)
    arguments = settings.network.arguments()
    network = DiCE(**arguments)
    if settings.start is not None:
        network = load_deepsparse(settings.start)
        check_configuration(network, arguments, f"train: start {settings.start}")
    network.denoise = settings.stage == "finetune2"
    if settings.stage == "finetune2":
        network.freeze_encoder()
    return network


def stage_loss(network: DiCE, batch: Batch, stage: str) -> Tensor:
    """Mean squared error of attenuation, and what the stage adds to it."""
    if stage == "finetune2":
        with torch.no_grad():
            maps = network.encode(batch.projections)
            dense, _ = network.quantise(network.lift(maps, batch.lattice))
            sparse, _ = network.quantise(network.lift(maps, batch.lattice, batch.seen))
        quantised = network.denoised(sparse)
        gaps = [functional.l1_loss(mended, whole) for mended, whole in zip(quantised, dense, strict=True)]
        extra = _DENOISING_WEIGHT * torch.stack(gaps).mean()
    else:
        maps = network.encode(batch.projections)
        quantised, commitment = network.quantise(network.lift(maps, batch.lattice))
        extra = _VQ_WEIGHT * commitment
    found = network.at_points(maps, network.decode(quantised), batch.fractions, batch.places, batch.seen)
    return functional.mse_loss(found, batch.truth) + extra


def validate(network: DiCE, pairs: list[Pair], views: int) -> tuple[float, float]:
    """Mean PSNR in dB and SSIM of reconstructions from evenly spread views; NaN without pairs."""
    scores = []
    low, high = HOUNSFIELD.window
    for pair in pairs:
        count = max(views, 4)  # `deepsparse` takes no fewer
        indices = np.floor((np.arange(count) + 0.5) / count * pair.geometry.views).astype(np.int64)
        geometry, projections = pair.views(indices)
        image = deepsparse(ConeBeamCT(geometry, pair.grid), projections, network)
        truth = pair.attenuation.clamp(0.02 * (1 + low / 1000), 0.02 * (1 + high / 1000))
        scores.append((psnr(image, truth), ssim(image, truth)))
    values = np.asarray(scores or [(np.nan, np.nan)]).mean(0)
    return float(values[0]), float(values[1])
