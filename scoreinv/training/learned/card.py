"""The card that travels with the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scoreinv.baselines.learned import LearnedNetwork
from scoreinv.training.card import described
from scoreinv.training.learned.settings import LearnedSettings
from scoreinv.training.pair_source import PairSource


def card(
    settings: LearnedSettings,
    network: LearnedNetwork,
    source: PairSource,
    scores: Mapping[int, tuple[float, float]],
) -> str:
    """Markdown: what the network saw, and how well it did on validation volumes by number of views."""
    trained = network.trained_on
    assert trained is not None
    few, many = trained.views
    z, y, x = trained.field_of_view
    arguments = ", ".join(f"{key} {value}" for key, value in network.configuration.items())
    rows = "\n".join(f"| {views} | {db:.2f} | {similarity:.3f} |" for views, (db, similarity) in scores.items())
    lines = described([path.stem for path in source.files], settings.licences, settings.data.phantoms.number)
    return f"""# {settings.name}

{settings.description}

| | |
|---|---|
| method | {settings.METHOD} |
| network | {arguments} |
| views | {few} to {many} over {math.degrees(trained.arc):.0f} degrees |
| source to axis, to detector | {trained.source_to_isocenter:g}, {trained.source_to_detector:g} mm |
| field of view (z, y, x) | {z:g} x {y:g} x {x:g} mm |
| parameters | {sum(p.numel() for p in network.parameters()):,} |
| training steps, volumes in each | {settings.steps}, {settings.batch} |

Research use, not a medical device.

## Training data

{lines}

## Validation

Volumes that were not trained on, range 2000 HU:

| views | PSNR (dB) | SSIM |
|---|---|---|
{rows}
"""
