"""What a network was trained on, and how a scan differs from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from scoreinv.operators.geometry import ConeBeamGeometry, Volume

_TOLERANCE = 0.05  # relative difference of lengths that a network is expected to bear


@dataclass(frozen=True)
class TrainingScans:
    """The scans that a learned method has seen.

    Attributes:
        views: fewest and most that were shown at once.
        source_to_isocenter, source_to_detector: mm.
        detector_size: (v, u), mm.
        detector_offset: (v, u), mm.
        field_of_view: edge lengths of the volume (z, y, x), mm.
        arc: that the views are spread over, rad.
    """

    views: tuple[int, int]
    source_to_isocenter: float
    source_to_detector: float
    detector_size: tuple[float, float]
    detector_offset: tuple[float, float]
    field_of_view: tuple[float, float, float]
    arc: float

    @classmethod
    def of(cls, geometry: ConeBeamGeometry, volume: Volume, views: tuple[int, int]) -> Self:
        """Of a circular scan, or the mean of another."""
        outward = geometry.sources * (0, 1, 1)
        radius = np.linalg.norm(outward, axis=1, keepdims=True)
        outward = outward / np.where(radius > 0, radius, 1.0)
        to_middle = geometry.detector_centers - geometry.sources
        v, u = (steps / np.linalg.norm(steps, axis=1, keepdims=True) for steps in (geometry.v_steps, geometry.u_steps))
        pitches = [np.linalg.norm(steps, axis=1).mean() for steps in (geometry.v_steps, geometry.u_steps)]
        rows, columns = (float(n * pitch) for n, pitch in zip(geometry.detector_shape, pitches, strict=True))
        z, y, x = (float(n * size) for n, size in zip(volume.shape, volume.voxel_size, strict=True))
        return cls(
            views=views,
            source_to_isocenter=float(radius.mean()),
            source_to_detector=float(-(to_middle * outward).sum(1).mean()),
            detector_size=(rows, columns),
            detector_offset=(float((to_middle * v).sum(1).mean()), float((to_middle * u).sum(1).mean())),
            field_of_view=(z, y, x),
            arc=arc(geometry),
        )

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()
        }
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def differences(self, geometry: ConeBeamGeometry, volume: Volume) -> list[str]:
        """In words, what of a scan is not as in training; empty if nothing is."""
        fewest, most = self.views
        found = []
        if not fewest <= geometry.views <= most:
            found.append(f"{geometry.views} views (training: {fewest} to {most})")
        here = self.of(geometry, volume, self.views)
        scale = max(self.detector_size)
        # Few views tell their arc only to about the angle between two of them.
        slack = {"detector_offset": _TOLERANCE * scale, "arc": self.arc / max(geometry.views, 1)}
        for name, then in self.to_dict().items():
            now, then = np.asarray(getattr(here, name), float), np.asarray(then, float)
            if name != "views" and np.any(np.abs(now - then) > slack.get(name, _TOLERANCE * np.abs(then).max())):
                unit, per = (" degrees", 180 / np.pi) if name == "arc" else ("", 1.0)
                found.append(f"{name} {_words(per * now)}{unit} (training: {_words(per * then)})")
        return found


_FIELDS = tuple(field.name for field in fields(TrainingScans))


def arc(geometry: ConeBeamGeometry) -> float:
    """What evenly spread views stand for, rad: up to the largest gap between them, and one step more."""
    turned = np.sort(np.mod(np.arctan2(geometry.sources[:, 1], geometry.sources[:, 2]), 2 * np.pi))
    gaps = np.diff(turned, append=turned[0] + 2 * np.pi)
    if len(gaps) < 2:
        return 0.0
    return float(min(2 * np.pi, (2 * np.pi - gaps.max()) * len(gaps) / (len(gaps) - 1)))


def _words(values: Any) -> str:
    return " x ".join(f"{value:.4g}" for value in np.atleast_1d(values).round(6) + 0.0)
