"""What a run's folder says, as plain values for a page."""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from scoreinv.io import Image, read_image
from scoreinv.metrics import HOUNSFIELD, Scale, activities, hfen, magnitudes
from scoreinv.report.coverage import curves
from scoreinv.report.volumes import averaged, fewer, packed

_OBLIQUE = 0.5  # degrees from the patient's axes that are not worth a word
_SCALES: dict[str, Callable[[Tensor], Scale]] = {
    "cbct": lambda image: HOUNSFIELD,
    "mri": magnitudes,
    "pet": activities,
}


def read_run(folder: Path) -> dict[str, Any]:
    """Everything that the page of a run shows.

    Raises:
        FileNotFoundError: without `config.yaml`, or without an image of any of its methods.
        ValueError: for files that are damaged, or images of different shapes.
    """
    text = (folder / "config.yaml").read_text()
    try:
        config = _mapping(folder / "config.yaml", yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"{folder / 'config.yaml'}: not YAML ({error}); run again") from None
    # `scoreinv sample` says what it was asked around the run.
    command = "sample" if "run" in config else "run"
    config = {"name": config.get("name")} | _mapping(folder / "config.yaml", config.get("run", config))
    methods = [str(method) for method in config.get("methods") or []]
    images = {method: path for method in methods if (path := _image_of(folder, method)) is not None}
    if not images:
        raise FileNotFoundError(
            f"{folder}: no image of any method of config.yaml ({', '.join(methods) or 'none'}); run it first"
        )
    records = {
        method: _mapping(path, _json(path))
        for method in images
        if (path := folder / method / "reconstruction.json").is_file()
    }
    reference = folder / "reference.nii.gz"
    shown = _volumes(
        str(config.get("modality", "cbct")),
        read_image(reference) if reference.is_file() else None,
        {method: read_image(path) for method, path in images.items()},
        {method: _spread(folder / method) for method in images},
    )
    metrics = _metrics(folder / "metrics.json")
    for method, values in shown.pop("measured").items():
        metrics.setdefault(method, {}).update(values)
    return shown | {
        "name": str(config.get("name", folder.resolve().name)),
        "modality": str(config.get("modality", "cbct")),
        "config": text,
        "command": shlex.join(["scoreinv", command, f"{folder}/config.yaml", "--out", f"{folder}-again"]),
        "metrics": metrics,
        "convergence": {m: _convergence(folder / m / "reconstruction.json", r) for m, r in records.items()},
        "spread": {method: _claim(record) for method, record in records.items()},
        "maps": {m: _picture(path) for m in images if (path := folder / m / "maps.png").is_file()},
        "statistics": {m: _rows(path) for m in images if (path := folder / m / "statistics.json").is_file()},
        "coverage": _coverages(folder, list(images)),
        "versions": _versions(records),
    }


def _volumes(
    modality: str, reference: Image | None, images: dict[str, Image], spreads: dict[str, Tensor | None]
) -> dict[str, Any]:
    """Images, errors and spreads, packed, and how to show them."""
    first = reference or next(iter(images.values()))
    whole = {method: image.data for method, image in images.items()}
    whole |= {f"{method}/std": spread for method, spread in spreads.items() if spread is not None}
    for name, data in whole.items():
        if data.shape != first.data.shape:
            raise ValueError(
                f"{name}.nii.gz has shape {tuple(data.shape)}, expected {tuple(first.data.shape)} as the others; "
                "run again into an empty folder"
            )
    if modality not in _SCALES:
        raise ValueError(f"config.yaml: modality is {modality!r}, expected one of {sorted(_SCALES)}")
    scale = _SCALES[modality](first.data)
    nothing = scale.read(torch.zeros(1))
    widths = {m: scale.read(s) - nothing for m, s in spreads.items() if s is not None and float(s.max()) > 0}
    errors = (
        {} if reference is None else {m: scale.read(i.data) - scale.read(reference.data) for m, i in images.items()}
    )
    widest = max((float(np.percentile(w.cpu().numpy(), 99.5)) for w in widths.values()), default=1.0) or 1.0
    read = ({} if reference is None else {"reference": reference}) | images
    depth, height, width = first.data.shape
    factors = fewer((depth, height, width), first.voxel_size, len(read) + len(errors) + len(widths))
    low, high = scale.window
    layers = [
        {
            "name": name,
            "image": packed(averaged(scale.read(image.data), factors), low, high),
            "error": packed(averaged(errors[name], factors), -scale.error, scale.error) if name in errors else None,
            "spread": packed(averaged(widths[name], factors), 0.0, widest) if name in widths else None,
        }
        for name, image in read.items()
    ]
    return {
        "layers": layers,
        "shape": [-(-n // f) for n, f in zip(first.data.shape, factors, strict=True)],
        "factors": list(factors),
        "stored": list(first.data.shape),
        "voxel_size": [size * f for size, f in zip(first.voxel_size, factors, strict=True)],
        "oblique": _tilt(first),
        "window": [low, high],
        "dark_is_high": scale.colours.endswith("_r"),
        "error": scale.error,
        "widest": widest,
        "unit": scale.unit if scale.unit != "of the image" else "",
        "measured": {
            method: {"hfen": _number(hfen(image.data, reference.data, scale))}
            for method, image in images.items()
            if reference is not None
        },
    }


def _image_of(folder: Path, method: str) -> Path | None:
    # A config is a file like any other: a method named ../x must not reach out of the folder.
    path = folder / f"{method}.nii.gz"
    return path if path.parent == folder and Path(method).name == method and path.is_file() else None


def _spread(folder: Path) -> Tensor | None:
    path = folder / "std.nii.gz"
    return read_image(path).data if path.is_file() else None


def _claim(record: dict[str, Any]) -> str:
    """What a spread is: the std of the samples, of which intervals are so many, by theory or by calibration."""
    found = record.get("calibration")
    if record.get("spread", "uncalibrated") != "calibrated" or not isinstance(found, dict):
        return "std of the samples, uncalibrated"
    cases = found.get("cases", {}).get("calibration", "?")
    return f"std of the samples; calibrated by {cases} cases, 90 % intervals are +- {found.get('factor_90', 0):.2f} std"


def _picture(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _rows(path: Path) -> list[list[str]]:
    """Regions and contrasts of `statistics.json`, as name, mean and interval."""
    tree = _mapping(path, _json(path))
    unit, rows = str(tree.get("unit", "")), []
    for name, each in (tree.get("regions", {}) | tree.get("contrasts", {})).items():
        low, high = f"{each['low']:.4g}", f"{each['high']:.4g}"
        rows.append([str(name), f"{each['mean']:.4g} {unit}", f"{each['level']:.0%} within {low} to {high}"])
    return rows


def _tilt(image: Image) -> float:
    """Largest angle between an axis of the image and the patient's, degrees; 0 where it is not worth a word."""
    angle = math.degrees(math.acos(min(1.0, float(np.diag(image.direction).min()))))
    return angle if angle > _OBLIQUE else 0.0


def _metrics(path: Path) -> dict[str, dict[str, float | None]]:
    if not path.is_file():
        return {}
    rows = _mapping(path, _mapping(path, _json(path)).get("methods", {}))
    return {
        str(method): {str(key): _number(value) for key, value in _mapping(path, row).items()}
        for method, row in rows.items()
    }


def _convergence(path: Path, record: dict[str, Any]) -> list[dict[str, float | None]]:
    """By step: sigma, mean misfit and iterations over its groups of samples, and their seconds together."""
    try:
        steps: dict[int, list[dict[str, Any]]] = {}
        for step in record.get("steps", []):
            steps.setdefault(int(step["index"]), []).append(step)
        return [_together(group) for _, group in sorted(steps.items())]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: steps are not as `Reconstruction.save` writes them ({error!r}); run again") from None


def _together(group: list[dict[str, Any]]) -> dict[str, float | None]:
    misfits = [value for step in group for value in step["misfit"] if value is not None]
    row: dict[str, float | None] = {
        "sigma": _number(group[0]["sigma"]),
        "misfit": _number(float(np.mean(misfits))) if misfits else None,
        "inner": float(np.mean([step["inner_iterations"] for step in group])),
    }
    return row | {part: float(sum(step[part] for step in group)) for part in ("network", "operator", "rest")}


def _coverages(folder: Path, methods: list[str]) -> list[dict[str, Any]]:
    """Plots of the calibrations of the methods that have one."""
    files = {method: folder / method / "calibration.json" for method in methods}
    return [plot for title, path in files.items() if path.is_file() for plot in curves(path, title)]


def _versions(records: dict[str, dict[str, Any]]) -> str:
    from scoreinv._version import __version__

    made = sorted({str(record.get("config", {}).get("scoreinv", "")) for record in records.values()} - {""})
    return f"made with scoreinv {', '.join(made)}; page by {__version__}" if made else f"page by scoreinv {__version__}"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); run again, or remove the file") from None


def _mapping(path: Path, tree: Any) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: holds {type(tree).__name__}, expected a mapping as `scoreinv run` writes it")
    return tree


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
