"""Files and phantoms of a training run, and samplers of their crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from scoreinv.training.ct import CT
from scoreinv.training.modality import Modality
from scoreinv.training.mr import MR
from scoreinv.training.pet import PET
from scoreinv.training.settings import DataSettings
from scoreinv.training.slices import CropSampler, Slices

MODALITIES = {"ct": CT, "mr": MR, "pet": PET}


def load_groups(settings: DataSettings, seed: int) -> tuple[CropSampler, CropSampler]:
    """Samplers of training and of validation crops.

    Raises:
        FileNotFoundError: if the folder or a named file is missing, or the folder holds no volume.
        ValueError: if neither a folder nor phantoms are given, or a file holds a single slice.
    """
    modality = MODALITIES[settings.kind]
    train: list[list[Slices]] = []
    validation: list[list[Slices]] = []
    if settings.folder is not None:
        splits = [_patient(paths, modality).split() for paths in subjects(settings)]
        train.append([stretch for stretches, _ in splits for stretch in stretches])
        validation.append([slab for _, slab in splits])
    if settings.phantoms:
        kept = max(4, settings.phantoms // 10)
        phantoms = [modality.phantom(seed, number, settings.voxel_size) for number in range(kept + settings.phantoms)]
        validation.append(phantoms[:kept])
        train.append(phantoms[kept:])
    if not train:
        raise ValueError("train: no data; set data.folder to a folder of volumes, or data.phantoms to a number")
    share = settings.phantom_share
    shares = [1.0] if len(train) == 1 else [1 - share, share]

    def look(rng: np.random.Generator, window: Tensor) -> Tensor:
        return modality.look(rng, window, settings.reference_dropout)

    kept_out, seen = (
        CropSampler(groups, shares, settings.voxel_size, look, modality.fill) for groups in (validation, train)
    )
    return seen, kept_out


def subjects(settings: DataSettings) -> list[list[Path]]:
    """The files to train on, those of one subject together; none without a folder.

    Raises:
        FileNotFoundError: if the folder is missing or holds no volume.
    """
    folder = settings.folder
    if folder is None:
        return []
    if not folder.is_dir():
        raise FileNotFoundError(f"train: data.folder {folder} does not exist; give a folder of NIfTI or MHA volumes")
    if settings.files:
        return [[folder / name for name in ([names] if isinstance(names, str) else names)] for names in settings.files]
    paths = sorted(path for path in folder.iterdir() if path.name.endswith((".nii", ".nii.gz", ".mha")))
    if not paths:
        raise FileNotFoundError(f"train: {folder} holds no .nii, .nii.gz or .mha volume")
    return [[path] for path in paths]


def _patient(paths: Sequence[Path], modality: Modality) -> Slices:
    from scoreinv.io import read_image

    images = [read_image(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if len(image.data) < 2:
            raise ValueError(
                f"train: {path} is a single slice, expected a volume; a slab of each is kept for validation"
            )
    return Slices(modality.stored(images), images[0].voxel_size)
