"""Where pairs of volume and scan come from: files of `prepare`, and procedural phantoms without end."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from scoreinv.metrics import to_attenuation
from scoreinv.operators import Volume
from scoreinv.training.pairs import Pair, read_pair
from scoreinv.training.scans import ScanSettings, simulate
from scoreinv.training.settings import Section
from scoreinv.training.slices import rng_of

# Seeds of the phantoms that are trained on begin here, so that smaller ones are always held out.
FIRST_PHANTOM = 1_000_000
_NOISE_STREAM = 3_000_000_000  # key of the noise's generators, apart from those of the training steps


class PhantomSettings(Section):
    """Procedural bodies in a simulated scan."""

    number: int = Field(0, ge=0, description="different bodies; each is made when it is first drawn")
    first: int = Field(0, ge=0, description="bodies that are passed over, so that two sets have none in common")
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = Field((64, 64, 64), description="(z, y, x)")
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field((6.4, 6.4, 6.4), description="(z, y, x) mm")
    scan: ScanSettings = ScanSettings(detector_shape=(64, 64), pixel_size=(9.6, 9.6))


class PairSettings(Section):
    """Pairs to train on."""

    folder: Path | None = Field(None, description="of pairs (`scoreinv prepare`): files in train/ and validation/")
    fraction: float = Field(1.0, gt=0, le=1, description="part of the training files that is used")
    phantoms: PhantomSettings = PhantomSettings()
    phantom_share: float = Field(0.5, ge=0, le=1, description="probability of drawing a phantom where both exist")
    validation: int = Field(4, ge=1, description="at most so many pairs of each kind are kept for validation")
    cache: int = Field(256, ge=1, description="pairs of each kind kept in memory")


class PairSource:
    """Draws pairs at random; which ones is a function of the generator alone.

    Raises:
        FileNotFoundError: if the folder is missing or holds no files to train on.
        ValueError: if there is neither a folder nor a phantom, or a subject is trained on and validated.
    """

    def __init__(self, settings: PairSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.files = _files(settings.folder, "train") if settings.folder else []
        self.files = self.files[: max(1, round(settings.fraction * len(self.files)))]
        if not self.files and not settings.phantoms.number:
            raise ValueError("train: no data; set data.folder to one of pairs, or data.phantoms.number")
        self._phantom = lru_cache(settings.cache)(self._make_phantom)
        self._file = lru_cache(settings.cache)(read_pair)

    def draw(self, rng: np.random.Generator) -> Pair:
        phantoms = self.settings.phantoms.number
        share = self.settings.phantom_share if self.files and phantoms else float(not self.files)
        if rng.random() < share:
            return self._phantom(self.settings.validation + int(rng.integers(phantoms)))
        return self._file(self.files[int(rng.integers(len(self.files)))])

    def validation(self) -> list[Pair]:
        """Pairs that are never drawn; only phantoms if the folder has no validation files."""
        settings, pairs = self.settings, []
        if settings.folder:
            files = sorted((settings.folder / "validation").glob("*.h5"))[: settings.validation]
            pairs = [read_pair(path) for path in files]
        if settings.phantoms.number:
            pairs += [self._make_phantom(number) for number in range(settings.validation)]
        return pairs

    def _make_phantom(self, number: int) -> Pair:
        from scoreinv.phantoms import body

        settings = self.settings.phantoms
        attenuation = to_attenuation(body(FIRST_PHANTOM + settings.first + number, settings.shape, settings.voxel_size))
        grid = Volume(settings.shape, settings.voxel_size)
        scan = settings.scan
        projections = simulate(attenuation, grid, scan, rng_of(self.seed, _NOISE_STREAM, number))
        return Pair(attenuation, grid, scan.geometry(), projections, f"phantom {number}")


def _files(folder: Path, split: str) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"train: data.folder {folder} does not exist; make it with scoreinv prepare")
    files = sorted((folder / split).glob("*.h5"))
    if not files:
        raise FileNotFoundError(f"train: {folder / split} holds no .h5 file; make them with scoreinv prepare")
    return files
