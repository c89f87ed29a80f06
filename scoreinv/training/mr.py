"""MR: complex images from magnitudes of any contrast, with the image of another contrast as a reference.

Few subjects must stand for all weightings, so half of the windows are seen through a random curve of brightness that
keeps what is dark in air dark: it makes a T2-weighted look of a T1-weighted image. Phase, which files of magnitudes do
not know, is drawn smooth: a constant, a ramp and a random field of long wavelength, as coils and inhomogeneity make it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import Image
from scoreinv.phase import smooth_phase
from scoreinv.priors.intensity import IntensityMap
from scoreinv.training.modality import Modality, one_grid
from scoreinv.training.slices import Slices, rng_of

PERCENTILE = 99.5  # of magnitudes, that lies at 1 in network units
STORED = 1000.0  # of an int16 for a magnitude of 1
FIELD_OF_VIEW = 240.0  # mm, of the phantoms
PHANTOM_STREAM = 2_000_000_000  # key of their generators, apart from those of the training steps
WEIGHTINGS = ("t1", "t2", "flair", "pd")
KNOTS = (0.0, 0.05, 0.3, 0.55, 0.8, 1.2)  # of the random curve of brightness
SCALE_SPREAD = 0.15  # of ln(scale): at reconstruction the percentile is that of a rough image


def _stored(images: Sequence[Image]) -> Tensor:
    return torch.stack([_to_int16(image) for image in one_grid(images)])


def _to_int16(magnitude: Tensor) -> Tensor:
    unit = float(np.percentile(magnitude.numpy(), PERCENTILE))
    if not unit > 0:
        raise ValueError(f"train: {PERCENTILE} % of an image's voxels are not above 0, expected magnitudes of a head")
    return (magnitude * (STORED / unit)).clamp(0, 32767).round().to(torch.int16)


def _phantom(seed: int, number: int, voxel_size: tuple[float, float]) -> Slices:
    """Widely spaced slices of one head in every weighting."""
    from scoreinv.head import contrast, head

    rng = rng_of(seed, PHANTOM_STREAM, number)
    pixel = float(rng.uniform(*voxel_size))
    side = round(FIELD_OF_VIEW / pixel)
    spacing = (float(rng.uniform(8, 16)), pixel, pixel)
    tissues = head(number, (12, side, side), spacing)
    images = [contrast(tissues, weighting, number) for weighting in WEIGHTINGS]
    return Slices(torch.stack([_to_int16(image) for image in images]), spacing)


def _look(rng: np.random.Generator, window: Tensor, dropout: float) -> Tensor:
    """(contrasts, y, x) magnitudes -> (real, imaginary, reference)."""
    magnitudes = window.clamp(min=0) / STORED
    shown, told = (int(k) for k in rng.choice(len(magnitudes), 2, replace=len(magnitudes) < 2))
    image = recontrast(rng, magnitudes[shown]) * math.exp(rng.normal(0, SCALE_SPREAD))
    phase = smooth_phase(rng, *image.shape)
    reference = torch.zeros_like(image)
    if rng.random() >= dropout:
        # Noise of its own, or a network would learn that the reference has the noise of the image.
        noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
        reference = recontrast(rng, magnitudes[told]) * math.exp(rng.normal(0, SCALE_SPREAD)) + 0.03 * noise
    return torch.stack([image * torch.cos(phase), image * torch.sin(phase), reference])


def recontrast(rng: np.random.Generator, magnitude: Tensor) -> Tensor:
    """Half of the time as it is, half through a random curve with its highest point at 1."""
    if rng.random() < 0.5:
        return magnitude
    values = np.concatenate([[0.0, 0.05], rng.uniform(0.1, 1.0, len(KNOTS) - 2)])
    values[2:] /= values.max()
    curve = np.interp(magnitude.numpy(), KNOTS, values)
    return torch.from_numpy(curve.astype(np.float32))


MR = Modality(
    title="MR, complex axial slices (real, imaginary) and the magnitude of another contrast as an optional reference",
    units=f"{PERCENTILE:g} % of magnitudes are below 1",
    channels=2,
    references=1,
    intensity=IntensityMap(percentile=PERCENTILE),
    air=0.0,
    fill=0.0,
    stored=_stored,
    phantom=_phantom,
    look=_look,
)
