"""What `solve` gives back."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators import Likelihood, LinearOperator, Volume
from scoreinv.samplers import Step

if TYPE_CHECKING:
    from scoreinv.io import Image

log = logging.getLogger("scoreinv")
_MOST_NUMBERS = 10_000  # of an array that the record repeats


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """Samples of the posterior and what they say together; images in the operator's unit and shape.

    Attributes:
        mean: of the samples, `operator.in_shape`.
        std: of the samples; zeros for one sample. It is the spread of the samples, and a promise only with a
            calibration.
        samples: (samples, *image).
        residual: of the mean, in units of the noise; ||A mean - y|| / ||y|| for a Gaussian of one sigma
            (`Likelihood.residual`). NaN in list mode, where nothing is known of the background of lines without events.
        diagnostics: a `Step` for every step of every group of samples.
        config: everything needed to repeat it, as plain values; large arrays by shape and SHA-256.
        voxel_size: (z, y, x) mm, None if the operator has no volume.
        calibration: what `uncertainty.Calibration.label` says of one that holds for this result; None leaves the spread
            uncalibrated.
    """

    mean: Tensor
    std: Tensor
    samples: Tensor
    residual: float
    diagnostics: list[Step]
    config: dict[str, Any]
    voxel_size: tuple[float, float, float] | None = None
    calibration: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        samples: Tensor,
        operator: LinearOperator,
        measurements: Tensor,
        likelihood: Likelihood,
        diagnostics: list[Step],
        config: dict[str, Any],
    ) -> Reconstruction:
        """From samples (samples, *image)."""
        mean = samples.mean(0)
        std = samples.std(0) if len(samples) > 1 else torch.zeros_like(samples[0].abs())
        residual = math.nan if operator.partial else likelihood.residual(operator.forward(mean), measurements)
        voxel_size = None if operator.volume is None else operator.volume.voxel_size
        return cls(mean, std, samples, residual, diagnostics, config, voxel_size)

    def __repr__(self) -> str:
        image = f"image {tuple(self.mean.shape)} {str(self.mean.dtype).removeprefix('torch.')}"
        return f"Reconstruction({image}, samples {len(self.samples)}, residual {self.residual:.4g})"

    @property
    def image(self) -> Tensor:
        """The mean."""
        return self.mean

    @property
    def seconds(self) -> dict[str, float]:
        """Total seconds in network, operator and the rest."""
        return {part: sum(getattr(step, part) for step in self.diagnostics) for part in ("network", "operator", "rest")}

    def save(
        self,
        folder: str | os.PathLike[str],
        grid: Image | Volume | Callable[[Tensor], Image] | None = None,
        samples: bool = True,
    ) -> Path:
        """Write mean, std and samples as NIfTI and `reconstruction.json`; each file appears whole or not at all.

        Args:
            folder: made if it is not there.
            grid: where the images lie, as `write_image` takes it, or what puts one there; None centres them at 0.
            samples: write them too, where there are several.

        What an earlier result left in the folder is removed. Complex images are stored as magnitude (`mean.nii.gz`) and
        phase (`mean_phase.nii.gz`), see `write_image`. NIfTI cannot leave the voxel size open: where it is unknown the
        files say 1 mm, and "voxel_size" in the record is null.
        """
        from scoreinv.io import write_image, write_json

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        remove_saved(folder)
        if self.voxel_size is None and grid is None:
            log.warning("%s: the voxel size is unknown; the NIfTI files say 1 mm", folder)
        images = {"mean": self.mean, "std": self.std}
        if samples and len(self.samples) > 1:
            images |= {f"sample_{k:03d}": sample for k, sample in enumerate(self.samples)}
        for name, image in images.items():
            path = folder / f"{name}.nii.gz"
            if callable(grid):
                write_image(path, grid(image.cpu()))
            else:
                voxel_size = (self.voxel_size or (1.0, 1.0, 1.0)) if grid is None else None
                write_image(path, image.cpu(), grid, voxel_size)
        record = {
            "config": self.config,
            "voxel_size": self.voxel_size,
            "residual": self.residual,
            "seconds": self.seconds,
            "spread": "uncalibrated" if self.calibration is None else "calibrated",
            "calibration": self.calibration,
            "steps": [dataclasses.asdict(step) for step in self.diagnostics],
        }
        write_json(folder / "reconstruction.json", record)
        return folder


def remove_saved(folder: Path) -> None:
    """Remove what `Reconstruction.save` writes, the calibration that was copied beside it and what `scoreinv sample`
    says of it, and nothing else; other samples must not stand beside a new mean."""
    for pattern in (
        "reconstruction.json",
        "calibration.json",
        "mean.nii.gz",
        "mean_phase.nii.gz",
        "std.nii.gz",
        "sample_[0-9]*.nii.gz",
        "statistics.json",
        "maps.png",
        "width.nii.gz",
        "quantile_*.nii.gz",
        "above_*.nii.gz",
        "*measured_std.nii.gz",
        "contradiction*.nii.gz",
        "hallucination*.nii.gz",
    ):
        for path in folder.glob(pattern):
            path.unlink()


def describe(**parts: Any) -> dict[str, Any]:
    """Settings as plain values: dataclasses, operators and likelihoods by their fields, priors by their names."""
    from scoreinv._version import __version__

    return {"scoreinv": __version__, "torch": str(torch.__version__)} | {k: _plain(v) for k, v in parts.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__} | fields
    if isinstance(value, LinearOperator | Likelihood):
        fields = {name: _plain(field) for name, field in vars(value).items() if not name.startswith("_")}
        return {"type": type(value).__name__} | fields
    if isinstance(value, Tensor) and value.layout == torch.strided:
        return _array(value.detach().cpu().resolve_conj())
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return _array(torch.tensor(value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def _array(values: Tensor) -> Any:
    """Few numbers as they are, such as a geometry; many by shape, type and SHA-256, to recognise them by."""
    if values.numel() <= _MOST_NUMBERS and not values.is_complex():
        return values.tolist()
    digest = hashlib.sha256(values.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
    return {"shape": list(values.shape), "dtype": str(values.dtype), "sha256": digest}
