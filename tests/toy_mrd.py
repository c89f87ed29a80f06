"""Small ISMRMRD files that tests write, and what they should read as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
import torch

COILS, HEIGHT, WIDTH = 3, 12, 16  # of the image shown; readouts are sampled twice as densely


def fft(image: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> np.ndarray:
    """Centred and orthonormal."""
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image, axes), axes=axes, norm="ortho"), axes).astype(
        np.complex64
    )


def random(*shape: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((*shape, 2)).astype(np.float32)
    return values.view(np.complex64)[..., 0]


def oversampled(image: np.ndarray) -> np.ndarray:
    """k-space (..., y, 2 x) of an image (..., y, x) in a field of view twice as wide."""
    x = image.shape[-1]
    padded = np.zeros((*image.shape[:-1], 2 * x), np.complex64)
    padded[..., x - x // 2 : x - x // 2 + x] = image
    return fft(padded)


def space(matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> Any:
    """An encoding space of (z, y, x)."""
    size = dict(zip("zyx", matrix, strict=True))
    lengths = dict(zip("zyx", fov, strict=True))
    return xsd.encodingSpaceType(matrixSize=xsd.matrixSizeType(**size), fieldOfView_mm=xsd.fieldOfViewMm(**lengths))


def encoding(
    encoded: Any = None,
    recon: Any = None,
    kind: str = "cartesian",
    centers: tuple[int | None, int | None] = (None, None),
) -> Any:
    """By default the readout is oversampled twice, voxels are (5, 2, 1.5) mm; centers of (z, y)."""
    steps = [None if c is None else xsd.limitType(minimum=0, maximum=2 * c, center=c) for c in centers]
    return xsd.encodingType(
        encodedSpace=encoded or space((1, HEIGHT, 2 * WIDTH), (5, 2 * HEIGHT, 3 * WIDTH)),
        reconSpace=recon or space((1, HEIGHT, WIDTH), (5, 2 * HEIGHT, 1.5 * WIDTH)),
        encodingLimits=xsd.encodingLimitsType(kspace_encoding_step_2=steps[0], kspace_encoding_step_1=steps[1]),
        trajectory=xsd.trajectoryType(kind),
    )


def line(
    data: np.ndarray,
    y: int = 0,
    z: int = 0,
    flags: tuple[int, ...] = (),
    trajectory: np.ndarray | None = None,
    counters: dict[str, int] | None = None,
    **head: Any,
) -> Any:
    acquisition = ismrmrd.Acquisition.from_array(
        np.ascontiguousarray(data), trajectory, **{"center_sample": data.shape[1] // 2, "sample_time_us": 5.0, **head}
    )
    acquisition.idx.kspace_encode_step_1, acquisition.idx.kspace_encode_step_2 = y, z
    for name, value in (counters or {}).items():
        setattr(acquisition.idx, name, value)
    for flag in flags:
        acquisition.setFlag(flag)
    return acquisition


def lines(k_space: np.ndarray, **head: Any) -> list[Any]:
    return [line(k_space[:, y], y, **head) for y in range(k_space.shape[1])]


def write(path: Path, acquisitions: list[Any], *encodings: Any, group: str = "dataset") -> Path:
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_500_000),
        encoding=list(encodings or (encoding(),)),
    )
    with ismrmrd.Dataset(path, group) as file:
        file.write_xml_header(header.toXML().encode())
        for acquisition in acquisitions:
            file.append_acquisition(acquisition)
    return path


def assert_close(got: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-6)


def assert_one_line(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def radial(unit: str = "1/voxel") -> tuple[np.ndarray, np.ndarray]:
    """Four spokes of 16 samples that reach the edge: rad per voxel in (y, x), and as stored, (kx, ky) in a unit."""
    angles = np.arange(4)[:, None] * 0.7 + 0.1
    radius = np.linspace(-1, 1, 16)[None] * np.pi
    k = np.stack([np.sin(angles) * radius, np.cos(angles) * radius], axis=-1)
    voxel = np.array([2.0, 1.5])
    turn = 2 * np.pi
    factor = {
        "1/voxel": turn,
        "rad/voxel": 1.0,
        "1/encoded_fov": turn / np.array([HEIGHT, 2 * WIDTH]),
        "1/fov": turn / np.array([HEIGHT, WIDTH]),
        "1/mm": turn * voxel,
        "1/m": turn * voxel * 1e-3,
    }[unit]
    return k.astype(np.float32), (k / factor)[..., ::-1].astype(np.float32)


def spokes(stored: np.ndarray, **head: Any) -> list[Any]:
    data = random(COILS, *stored.shape[:2])
    return [line(data[:, n], n, trajectory=np.ascontiguousarray(k), **head) for n, k in enumerate(stored)]
