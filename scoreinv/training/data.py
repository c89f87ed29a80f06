"""Training images cut from CT volumes, as a pure function of a generator.

Volumes are cut across z at a random pixel size between their own and the largest asked for: slices are averaged to
about that thickness and resampled with anti-aliasing, so that a 1.5 mm scan also teaches what a 3 mm scan looks like. A
slab in the middle of every volume is kept out of training for validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scoreinv.training.settings import DataSettings

AIR = -1000.0  # HU
VALIDATION_SLAB = (0.44, 0.56)  # of a volume's slices
MARGIN = 3  # slices beside the slab that belong to neither side
FIELD_OF_VIEW = 400.0  # mm, of the phantoms
PHANTOM_STREAM = 1_000_000_000  # key of their generators, apart from those of the training steps


@dataclass(frozen=True)
class Slices:
    """Consecutive axial slices in HU, (z, y, x), and their voxel size (z, y, x) in mm."""

    hu: Tensor
    voxel_size: tuple[float, float, float]

    def split(self) -> tuple[list[Slices], Slices]:
        """The two training stretches and the validation slab between them."""
        first, last = (round(len(self.hu) * part) for part in VALIDATION_SLAB)
        train = [self.hu[: max(first - MARGIN, 1)], self.hu[last + MARGIN :]]
        stretches = [Slices(hu, self.voxel_size) for hu in train if len(hu)]
        return stretches, Slices(self.hu[first : max(last, first + 1)], self.voxel_size)


@dataclass(frozen=True)
class CropSampler:
    """Random crops of one or two groups of slices (patients, phantoms).

    Args:
        groups: each a list of `Slices`, drawn by number of slices within a group.
        shares: probability of each group.
        voxel_size: range of pixel sizes, mm.
    """

    groups: Sequence[Sequence[Slices]]
    shares: Sequence[float]
    voxel_size: tuple[float, float]

    def draw(self, rng: np.random.Generator, batch: int, crop: int) -> Tensor:
        """(batch, 1, crop, crop) in HU/1000."""
        return torch.stack([self._one(rng, crop) for _ in range(batch)])[:, None] / 1000

    def _one(self, rng: np.random.Generator, crop: int) -> Tensor:
        group = self.groups[rng.choice(len(self.groups), p=np.asarray(self.shares))]
        counts = np.array([len(slices.hu) for slices in group], float)
        slices = group[rng.choice(len(group), p=counts / counts.sum())]
        low, high = self.voxel_size
        own = slices.voxel_size[1]
        pixel = rng.uniform(min(max(low, own), high), high)
        return _flip(rng, _crop(rng, _resample(rng, slices, pixel), crop))


def _resample(rng: np.random.Generator, slices: Slices, pixel: float) -> Tensor:
    """One slice (y, x) at the wanted pixel size, about as thick as its pixels are wide."""
    thickness = min(max(1, round(pixel / slices.voxel_size[0])), len(slices.hu))
    first = int(rng.integers(len(slices.hu) - thickness + 1))
    image = slices.hu[first : first + thickness].float().mean(0)
    scale = [own / pixel for own in slices.voxel_size[1:]]
    size = [max(1, round(n * factor)) for n, factor in zip(image.shape, scale, strict=True)]
    if size == list(image.shape):
        return image
    return functional.interpolate(image[None, None], size, mode="bilinear", antialias=True)[0, 0]


def _crop(rng: np.random.Generator, image: Tensor, crop: int) -> Tensor:
    """A random window, (crop, crop), mostly of what is inside; air where it reaches beyond the image."""
    missing = [max(0, crop - n) for n in image.shape]
    image = functional.pad(
        image, [missing[1] // 2, (missing[1] + 1) // 2, missing[0] // 2, (missing[0] + 1) // 2], value=AIR
    )
    y, x = (int(rng.integers(n - crop + 1)) for n in image.shape)
    return image[y : y + crop, x : x + crop]


def _flip(rng: np.random.Generator, image: Tensor) -> Tensor:
    return image.flip(-1) if rng.random() < 0.5 else image


def rng_of(seed: int, *key: int) -> np.random.Generator:
    """A generator that depends on nothing but its key, so that a resumed run draws what an unbroken one would."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def load_groups(settings: DataSettings, seed: int) -> tuple[CropSampler, CropSampler]:
    """Samplers of training and of validation crops.

    Raises:
        FileNotFoundError: if the folder or a named file is missing, or the folder holds no volume.
        ValueError: if neither a folder nor phantoms are given, or a file holds a single slice.
    """
    train: list[list[Slices]] = []
    validation: list[list[Slices]] = []
    if settings.folder is not None:
        splits = [slices.split() for slices in _patients(volume_paths(settings))]
        train.append([stretch for stretches, _ in splits for stretch in stretches])
        validation.append([slab for _, slab in splits])
    if settings.phantoms:
        kept = max(4, settings.phantoms // 10)
        phantoms = [_phantom(seed, number, settings.voxel_size) for number in range(kept + settings.phantoms)]
        validation.append(phantoms[:kept])
        train.append(phantoms[kept:])
    if not train:
        raise ValueError("train: no data; set data.folder to a folder of CT volumes, or data.phantoms to a number")
    share = settings.phantom_share
    shares = [1.0] if len(train) == 1 else [1 - share, share]
    return CropSampler(train, shares, settings.voxel_size), CropSampler(validation, shares, settings.voxel_size)


def volume_paths(settings: DataSettings) -> list[Path]:
    """The files to train on; none without a folder.

    Raises:
        FileNotFoundError: if the folder is missing or holds no volume.
    """
    folder = settings.folder
    if folder is None:
        return []
    if not folder.is_dir():
        raise FileNotFoundError(
            f"train: data.folder {folder} does not exist; give a folder of NIfTI or MHA volumes in HU"
        )
    paths = [folder / name for name in settings.files] or sorted(
        path for path in folder.iterdir() if path.name.endswith((".nii", ".nii.gz", ".mha"))
    )
    if not paths:
        raise FileNotFoundError(f"train: {folder} holds no .nii, .nii.gz or .mha volume")
    return paths


def _patients(paths: Sequence[Path]) -> list[Slices]:
    from scoreinv.io import read_image

    images = [read_image(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if len(image.data) < 2:
            raise ValueError(
                f"train: {path} is a single slice, expected a volume; a slab of each is kept for validation"
            )
    return [Slices(image.data.to(torch.int16), image.voxel_size) for image in images]


def _phantom(seed: int, number: int, voxel_size: tuple[float, float]) -> Slices:
    """Widely spaced slices of one anatomy: thin samples of many bodies teach more than every slice of a few."""
    from scoreinv.phantoms import body

    rng = rng_of(seed, PHANTOM_STREAM, number)
    pixel = float(rng.uniform(*voxel_size))
    side = round(FIELD_OF_VIEW / pixel)
    spacing = (float(rng.uniform(8, 16)), pixel, pixel)
    hu = body(number, (12, side, side), spacing)
    return Slices(hu.round().clamp(-1024, 32767).to(torch.int16), spacing)
