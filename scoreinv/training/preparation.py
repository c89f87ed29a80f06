"""Training cases from folders of CT: every volume on one grid, with a simulated scan, in a file of its own.

    out/config.yaml                     what was asked for
    out/<split>/<case>.h5               a pair (`scoreinv.training.pairs`)

with the splits `train`, `validation` and `test`. All cases of a subject lie in one split. Complete files are kept, so
that a preparation that was stopped goes on where it was, and new volumes join the old.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from tqdm import tqdm

from scoreinv.io import Image, holds_dicom, patient_id, read_image
from scoreinv.metrics import to_attenuation
from scoreinv.operators import Volume
from scoreinv.training.checkpoint import write_settings
from scoreinv.training.pairs import Pair, write_pair
from scoreinv.training.resampling import resampled
from scoreinv.training.scans import ScanSettings, simulate, truncated
from scoreinv.training.settings import Section
from scoreinv.training.slices import rng_of

log = logging.getLogger("scoreinv")

SPLITS = ("train", "validation", "test")
AIR = -1000.0  # HU
_SUFFIXES = (".nii.gz", ".nii", ".mha")
# Air is below and bone or water above these in every CT in HU, HU; stored values without their rescaling are not.
_AIR_BELOW, _BODY_ABOVE = -500.0, -100.0
_TRUNCATED = 0.01  # part of the patient beside the detector that is worth a word


class PrepareSettings(Section):
    """Which volumes, and how they are cut and scanned; the defaults are DeepSparse's."""

    name: str = "ct"
    folder: Path = Field(description="of volumes (NIfTI, MHA, folders of DICOM slices), to any depth")
    files: tuple[str, ...] = Field((), description="names or patterns below the folder; all volumes if empty")
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = Field((256, 256, 256), description="(z, y, x)")
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field((1.5, 1.5, 1.5), description="(z, y, x) mm")
    window: tuple[float, float] = Field((-1000.0, 1000.0), description="HU; values beyond are clipped")
    scan: ScanSettings = ScanSettings()
    validation: float = Field(0.1, ge=0, lt=1, description="share of subjects")
    test: float = Field(0.1, ge=0, lt=1, description="share of subjects")
    seed: int = Field(0, ge=0, description="of the split and of the noise")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.window[0] < self.window[1]:
            raise ValueError(f"window is {self.window}, expected lowest < highest")
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation is {self.validation:g} and test {self.test:g}, expected a sum below 1: the rest is for "
                "training"
            )
        return self


@dataclass(frozen=True)
class Source:
    """A volume to prepare.

    Attributes:
        path: file, or folder of DICOM slices.
        case: its name among the cases.
        subject: who it is.
        split: where it belongs.
    """

    path: Path
    case: str
    subject: str
    split: str


def prepare(settings: PrepareSettings, out: Path, progress: bool = True) -> dict[str, int]:
    """Write a file for every volume that has none yet.

    Volumes below `folder/train`, `folder/validation` and `folder/test` belong to these splits where there is such a
    folder; else subjects are dealt out by lot, each by its own name and the seed, so that more volumes move no one. A
    subject is the PatientID of a DICOM series, else the folder that a volume lies in, or its file where that is
    `folder` or a split itself.

    Args:
        settings: what is asked for.
        out: folder for the cases.
        progress: show a bar.

    Returns:
        Number of cases by split.

    Raises:
        FileNotFoundError: if the folder is missing or holds no volume.
        ValueError: if a subject is in two splits, two volumes would have one name, `out` was prepared with other
            settings, or a volume cannot be read or is not in HU; what was written before stays.
    """
    sources = find(settings)
    _check_subjects(sources)
    _check_earlier(settings, sources, out)
    write_settings(out, settings)
    for source in tqdm(sources, desc="prepare", unit="volume", disable=not progress, leave=False):
        path = out / source.split / f"{source.case}.h5"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_pair(path, _pair(source, settings))
    return {split: sum(source.split == split for source in sources) for split in SPLITS}


def find(settings: PrepareSettings) -> list[Source]:
    """The volumes below the folder, in order of their names. Raises as `prepare`."""
    root = settings.folder
    if not root.is_dir():
        raise FileNotFoundError(f"prepare: folder {root} does not exist; give one of NIfTI, MHA or DICOM volumes")
    given = [split for split in SPLITS if (root / split).is_dir()]
    sources = []
    for split in given or [""]:
        for path in filter(partial(_wanted, settings), _volumes(root / split)):
            inside = path.relative_to(root / split) if path != root / split else Path(path.name)
            subject = _subject(path, inside)
            sources.append(Source(path, _case(inside), subject, split or _lot(subject, settings)))
    if not sources:
        which = f" of {list(settings.files)}" if settings.files else ""
        raise FileNotFoundError(
            f"prepare: {root} holds no .nii, .nii.gz or .mha file{which} and no folder of DICOM slices{which}"
        )
    return sources


def _wanted(settings: PrepareSettings, path: Path) -> bool:
    name = path.relative_to(settings.folder).as_posix()
    return not settings.files or any(fnmatch(name, pattern) for pattern in settings.files)


def _volumes(folder: Path) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        below.sort()
        volumes = [Path(place) / name for name in sorted(names) if name.lower().endswith(_SUFFIXES)]
        yield from (path for path in volumes if not path.name.startswith("."))
        if not volumes and holds_dicom(Path(place)):
            yield Path(place)


def _subject(path: Path, inside: Path) -> str:
    told = patient_id(path) if path.is_dir() else ""
    return told or (inside.parts[0] if len(inside.parts) > 1 or path.is_dir() else _stem(path.name))


def _case(inside: Path) -> str:
    return "_".join([*inside.parts[:-1], _stem(inside.name)])


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _lot(subject: str, settings: PrepareSettings) -> str:
    drawn = float(rng_of(settings.seed, zlib.crc32(subject.encode())).random())
    if drawn < settings.test:
        return "test"
    return "validation" if drawn < settings.test + settings.validation else "train"


def _check_subjects(sources: list[Source]) -> None:
    first: dict[str, Source] = {}
    for source in sources:
        other = first.setdefault(source.subject, source)
        if other.split != source.split:
            raise ValueError(
                f"prepare: subject {source.subject} is in {other.split} ({other.path}) and in {source.split} "
                f"({source.path}), expected one split; move all volumes of a person into one"
            )
    named: dict[str, Source] = {}
    for source in sources:
        other = named.setdefault(f"{source.split}/{source.case}", source)
        if other is not source:
            raise ValueError(f"prepare: {other.path} and {source.path} would both be {source.case}.h5; rename one")


def _check_earlier(settings: PrepareSettings, sources: list[Source], out: Path) -> None:
    """Refuse a folder that was prepared otherwise: complete files in it would be of another kind, or split."""
    earlier = out / "config.yaml"
    if not earlier.is_file():
        return
    then, now = yaml.safe_load(earlier.read_text()), settings.model_dump(mode="json")
    changed = sorted(key for key in {*then, *now} - {"name", "folder"} if then.get(key) != now.get(key))
    if changed:
        raise ValueError(
            f"prepare: {out} was prepared with another {' and '.join(changed)}; expected the settings in {earlier}, or "
            "give another --out"
        )
    for source in sources:
        for split in SPLITS:
            if split != source.split and (out / split / f"{source.case}.h5").exists():
                raise ValueError(
                    f"prepare: {source.path} belongs to {source.split}, but lies in {out / split} already; remove it "
                    "there or give another --out"
                )


def _pair(source: Source, settings: PrepareSettings) -> Pair:
    try:
        image = read_image(source.path)
        hu = _cut(image, settings)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(source.path) in text else f"{source.path}: {text}") from error
    grid, attenuation = Volume(settings.shape, settings.voxel_size), to_attenuation(hu)
    lost = truncated(attenuation, grid, settings.scan.geometry())
    if lost > _TRUNCATED:
        log.warning("%s: %.0f %% of the patient cast their shadow beside the detector", source.path, 100 * lost)
    noise = rng_of(settings.seed, zlib.crc32(source.case.encode()), 1)
    projections = simulate(attenuation, grid, settings.scan, noise)
    return Pair(attenuation, grid, settings.scan.geometry(), projections, source.subject)


def _cut(image: Image, settings: PrepareSettings) -> Tensor:
    """(z, y, x) HU on the grid of the cases."""
    hu = image.data
    if hu.is_complex() or not float(hu.min()) < _AIR_BELOW or not float(hu.max()) > _BODY_ABOVE:
        raise ValueError(
            f"values go from {float(hu.real.min()):g} to {float(hu.real.max()):g}, expected HU with air near -1000; "
            "apply the rescale slope and intercept first"
        )
    low, high = settings.window
    return resampled(hu, image.voxel_size, settings.shape, settings.voxel_size, AIR).clamp(low, high)
