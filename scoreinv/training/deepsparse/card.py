"""The card that travels with the weights."""

from __future__ import annotations

from collections.abc import Mapping

from scoreinv.baselines.deepsparse import DiCE
from scoreinv.training.deepsparse.settings import DeepSparseSettings
from scoreinv.training.pair_source import PairSource

_STAGES = {
    "pretrain": "pretraining",
    "finetune1": "finetuning, first step",
    "finetune2": "finetuning, second step (denoising layers)",
}


def card(
    settings: DeepSparseSettings, network: DiCE, source: PairSource, scores: Mapping[int, tuple[float, float]]
) -> str:
    """Markdown: what the network saw, and how well it did on validation volumes by number of views."""
    parameters = sum(p.numel() for p in network.parameters())
    trained = network.trained_on
    assert trained is not None
    few, many = settings.views
    z, y, x = trained.field_of_view
    rows = "\n".join(f"| {views} | {db:.2f} | {similarity:.3f} |" for views, (db, similarity) in scores.items())
    sources = [f"- {len(source.files)} volumes of {settings.data.folder}"] if source.files else []
    if phantoms := settings.data.phantoms.number:
        sources.append(f"- procedural phantoms of this package ({phantoms})")
    lines = "\n".join(sources)
    return f"""# {settings.name}

{settings.description}

| | |
|---|---|
| method | DeepSparse (DiCE), attenuation from a few cone-beam views |
| stage | {_STAGES[settings.stage]}{f", from {settings.start}" if settings.start else ""} |
| views | {few} to {many} |
| source to axis, to detector | {trained.source_to_isocenter:g}, {trained.source_to_detector:g} mm |
| field of view (z, y, x) | {z:g} x {y:g} x {x:g} mm |
| parameters | {parameters:,} |
| training | {settings.steps} steps of {settings.batch} volumes |

Research use, not a medical device.

## Training data

{lines}

## Validation

Volumes that were not trained on, range 2000 HU:

| views | PSNR (dB) | SSIM |
|---|---|---|
{rows}
"""
