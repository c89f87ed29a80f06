"""Projections survive a round trip bit for bit; raw scans come in with the axis at the origin."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from scoreinv.io import Projections, find_rotation_center, read_data_exchange, read_projections, write_projections
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry

TOOTH = Path(__file__).parents[3] / "../shared/data/raw_ct/tooth.h5"
ANGLES = np.linspace(0, np.pi, 60, endpoint=False)
DISCS = ((4.0, -10.0, 30.0, 0.02), (14.0, -20.0, 8.0, 0.02), (-10.0, 8.0, 5.0, 0.04))  # x, y, radius, 1/pixel


def geometries() -> list[Any]:
    rng = np.random.default_rng(0)
    free = ConeBeamGeometry(*(rng.standard_normal((4, 3)) for _ in range(4)), detector_shape=(3, 5))
    return [
        free,
        ConeBeamGeometry.circular(500.0, 1000.0, (3, 5), (1.0, 0.7), ANGLES[:4], (0.1, 2.0)),
        ParallelBeamGeometry.circular((3, 5), (1.0, 0.7), ANGLES[:4], (0.0, 0.3)),
    ]


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def discs_sinogram(angles: np.ndarray, center: float, columns: int = 128) -> torch.Tensor:
    """Line integrals (views, 1, u) of discs turning about `center`."""
    distance = np.arange(columns) - center
    total = np.zeros((len(angles), columns))
    for x, y, radius, attenuation in DISCS:
        shift = -x * np.sin(angles) + y * np.cos(angles)
        total += attenuation * 2 * np.sqrt(np.maximum(0, radius**2 - (distance - shift[:, None]) ** 2))
    return torch.from_numpy(total[:, None].astype(np.float32))


def raw_scan(path: Path, lines: np.ndarray, **changes: Any) -> Path:
    """A DataExchange file of these line integrals, with uneven flats and darks; None takes a dataset out."""
    views, rows, columns = lines.shape
    dark = np.full((rows, columns), 100.0, np.float32)
    beam = np.broadcast_to(np.linspace(20_000, 30_000, columns, dtype=np.float32), (rows, columns))
    datasets = {
        "data": dark + beam * np.exp(-lines),
        "data_white": np.stack([dark + 0.9 * beam, dark + 1.1 * beam]),
        "data_dark": np.stack([dark - 1, dark + 1]),
        "theta": np.rad2deg(np.linspace(0, np.pi, views, endpoint=False)),
    } | changes
    units = datasets.pop("units", "degrees")
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            if values is not None:
                file[f"exchange/{name}"] = values
        if units is not None and "exchange/theta" in file:
            file["exchange/theta"].attrs["units"] = units
    return path


def one_line(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("compression", [0, 1])
@pytest.mark.parametrize("photons", [None, 1.1e5, "map", "all"])
@pytest.mark.parametrize("geometry", geometries(), ids=["calibrated", "circular", "parallel"])
def test_round_trip_is_lossless(geometry: Any, photons: Any, compression: int, tmp_path: Path) -> None:
    photons = {"map": noise(1, 3, 5), "all": noise(4, 3, 5)}.get(photons, photons)
    kind = "line_integrals" if photons is None else "counts"
    written = Projections(noise(4, 3, 5), geometry, kind, photons)
    write_projections(tmp_path / "scan.h5", written, compression)
    read = read_projections(tmp_path / "scan.h5")
    assert torch.equal(read.data, written.data)
    assert read.data.dtype == torch.float32
    assert read.kind == kind
    assert type(read.geometry) is type(geometry)
    assert read.geometry.detector_shape == geometry.detector_shape
    for name in ("sources" if isinstance(geometry, ConeBeamGeometry) else "directions", "detector_centers", "v_steps"):
        np.testing.assert_array_equal(getattr(read.geometry, name), getattr(geometry, name))
    np.testing.assert_array_equal(read.geometry.u_steps, geometry.u_steps)
    if isinstance(photons, torch.Tensor):
        assert isinstance(read.photons, torch.Tensor)
        assert torch.equal(read.photons, photons)
    else:
        assert read.photons == photons


def test_file_that_fails_midway_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = Projections(noise(4, 3, 5), geometries()[0])
    path = tmp_path / "scan.h5"
    write_projections(path, scan)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(h5py.Group, "create_group", fail)
    with pytest.raises(OSError, match="disk full"):
        write_projections(path, scan)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"data": noise(5, 3, 5)}, ValueError, "angles of every view"),
        ({"data": noise(4, 3, 5).double()}, TypeError, "float64"),
        ({"data": noise(4, 3, 5) / 0}, ValueError, "NaN or Inf in 60 of 60"),
        ({"kind": "sinogram"}, ValueError, "sinogram"),
        ({"kind": "counts"}, ValueError, "without photons"),
        ({"kind": "counts", "data": noise(4, 3, 5) - 1, "photons": 1.0}, ValueError, "negative counts"),
        ({"photons": 0.0}, ValueError, "positive"),
        ({"photons": noise(4, 5)}, ValueError, "broadcasts"),
    ],
)
def test_projections_that_disagree_are_refused(arguments: dict[str, Any], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word) as caught:
        Projections(**{"data": noise(4, 3, 5), "geometry": geometries()[0], **arguments})
    one_line(caught, "Projections")


@pytest.mark.parametrize("read", [read_projections, read_data_exchange])
def test_missing_damaged_and_foreign_files_are_named(read: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file") as missing:
        read(tmp_path / "none.h5")
    one_line(missing, "none.h5")
    with pytest.raises(ValueError, match=r"\*\.h5") as suffix:
        read(tmp_path / "scan.txt")
    one_line(suffix, "scan.txt")
    write_projections(tmp_path / "scan.h5", Projections(noise(4, 3, 5), geometries()[0]))
    (tmp_path / "scan.h5").write_bytes((tmp_path / "scan.h5").read_bytes()[:-500])
    (tmp_path / "text.h5").write_text("not HDF5")
    for name in ("scan.h5", "text.h5"):
        with pytest.raises(ValueError, match="damaged or not HDF5") as damaged:
            read(tmp_path / name)
        one_line(damaged, name)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda f: f.__delitem__("data"), "lacks /data"),
        (lambda f: (f.__delitem__("data"), f.create_group("data")), "/data is a group, expected an array"),
        (lambda f: f.create_group("photons"), "/photons is a group, expected an array"),
        (lambda f: f.__delitem__("geometry/u_steps"), "lacks /geometry/u_steps"),
        (lambda f: f.attrs.__setitem__("format", "other"), "read_data_exchange"),
        (lambda f: f.attrs.__setitem__("format_version", 2), "update"),
        (lambda f: f["geometry"].attrs.__setitem__("type", "fan"), "fan"),
        (lambda f: f["data"].attrs.__setitem__("kind", "other"), "other"),
        (lambda f: f["data"].__setitem__((0, 0, 0), np.nan), "NaN"),
    ],
)
def test_spoilt_file_is_refused(spoil: Any, word: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    write_projections(path, Projections(noise(4, 3, 5), geometries()[0]))
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(ValueError, match=word) as error:
        read_projections(path)
    one_line(error, "scan.h5")


def test_another_precision_is_refused_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    write_projections(path, Projections(noise(4, 3, 5), geometries()[0]))
    with h5py.File(path, "r+") as file:
        del file["data"]
        file["data"] = np.ones((4, 3, 5))
        file["data"].attrs["kind"] = "line_integrals"
    with pytest.raises(ValueError, match="float64") as error:
        read_projections(path)
    one_line(error, "scan.h5")


def test_line_integrals_of_a_raw_scan(tmp_path: Path) -> None:
    lines = discs_sinogram(ANGLES, 60.0).expand(-1, 2, -1).numpy()
    scan = read_data_exchange(raw_scan(tmp_path / "raw.h5", lines), rotation_center=60.0)
    assert scan.kind == "line_integrals"
    assert scan.geometry.shape == (60, 2, 128)
    np.testing.assert_allclose(scan.data.numpy(), lines, atol=1e-4)


@pytest.mark.parametrize(("rotation_center", "pixel_size"), [(40.5, 0.5), (70.0, 2.0)])
def test_point_reconstructs_at_its_place(rotation_center: float, pixel_size: float, tmp_path: Path) -> None:
    x, y = 9.0 * pixel_size, -14.0 * pixel_size
    # The axis projects onto `rotation_center`; u runs along (-sin t, cos t).
    column = rotation_center + (-x * np.sin(ANGLES) + y * np.cos(ANGLES)) / pixel_size
    lines = np.exp(-((np.arange(128) - column[:, None]) ** 2) / 2)[:, None].astype(np.float32)
    scan = read_data_exchange(raw_scan(tmp_path / "raw.h5", lines), rotation_center, pixel_size)

    geometry = scan.geometry
    ys, xs = np.meshgrid(np.arange(-25, 26) * pixel_size, np.arange(-25, 26) * pixel_size, indexing="ij")
    points = np.stack([np.zeros_like(xs), ys, xs], -1)
    backprojection = np.zeros_like(xs)
    for view in range(geometry.views):
        step = geometry.u_steps[view]
        u = (points - geometry.detector_centers[view]) @ step / (step @ step) + (128 - 1) / 2
        backprojection += np.interp(u, np.arange(128), scan.data[view, 0].numpy())
    found = np.unravel_index(backprojection.argmax(), backprojection.shape)
    assert (xs[found], ys[found]) == (x, y)


def test_theta_is_read_in_its_units(tmp_path: Path) -> None:
    lines = discs_sinogram(ANGLES, 60.0).numpy()
    degrees = read_data_exchange(raw_scan(tmp_path / "d.h5", lines, units=None), 60.0)
    radians = read_data_exchange(raw_scan(tmp_path / "r.h5", lines, theta=ANGLES, units=b"radians"), 60.0)
    np.testing.assert_allclose(degrees.geometry.directions, radians.geometry.directions, atol=1e-12)
    with pytest.raises(ValueError, match="turns") as error:
        read_data_exchange(raw_scan(tmp_path / "t.h5", lines, units="turns"), 60.0)
    one_line(error, "t.h5")


def test_opaque_rays_and_dead_pixels_are_finite_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = np.full((60, 1, 8), 1100.0, np.float32)
    counts[3, 0, 2] = 90.0  # below the dark current
    counts[:, 0, 5] = 100.0
    white, dark = np.full((2, 1, 8), 1100.0, np.float32), np.full((2, 1, 8), 100.0, np.float32)
    white[:, 0, 5] = 100.0
    path = raw_scan(tmp_path / "raw.h5", np.zeros((60, 1, 8)), data=counts, data_white=white, data_dark=dark)
    with caplog.at_level(logging.WARNING, logger="scoreinv.io.projections"):
        lines = read_data_exchange(path, rotation_center=3.5).data
    assert lines[3, 0, 2].item() == pytest.approx(np.log(2000.0))
    assert torch.all(lines[:, 0, 5] == 0)
    assert lines.count_nonzero() == 1
    assert "61 values and 1 pixels" in caplog.text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"data_white": None}, "lacks /exchange/data_white"),
        ({"theta": None}, "lacks /exchange/theta"),
        ({"theta": np.arange(59.0)}, r"\(60,\)"),
        ({"data_dark": np.ones((2, 1, 64))}, "data_dark"),
        ({"data": np.ones((60, 128))}, "views, rows, columns"),
        ({"data": np.full((60, 1, 128), np.nan)}, "NaN"),
        ({"data_white": np.ones((2, 1, 128)), "data_dark": np.full((2, 1, 128), 9.0)}, "exchanged"),
    ],
)
def test_raw_scan_that_disagrees_is_refused(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    path = raw_scan(tmp_path / "raw.h5", discs_sinogram(ANGLES, 60.0).numpy(), **changes)
    with pytest.raises(ValueError, match=word) as error:
        read_data_exchange(path, rotation_center=60.0)
    one_line(error, "raw.h5")


def test_arguments_of_a_raw_scan_are_checked(tmp_path: Path) -> None:
    path = raw_scan(tmp_path / "raw.h5", discs_sinogram(ANGLES, 60.0).numpy())
    with pytest.raises(ValueError, match="from 0 to 127"):
        read_data_exchange(path, rotation_center=128.0)
    with pytest.raises(ValueError, match="positive length"):
        read_data_exchange(path, pixel_size=0.0)


@pytest.mark.parametrize(
    "angles",
    [
        ANGLES,
        np.linspace(0, np.pi, 61),
        np.linspace(0, 2 * np.pi, 120, endpoint=False),
        np.linspace(0, 2 * np.pi, 121, endpoint=False),
        np.linspace(0, 1.2 * np.pi, 70),
        np.arange(90) * np.pi * (3 - np.sqrt(5)),
    ],
    ids=["half turn, open", "half turn, closed", "full turn", "full turn, odd", "short scan", "golden angle"],
)
@pytest.mark.parametrize("center", [55.5, 63.5, 70.2])
def test_rotation_center_found_to_a_tenth_of_a_pixel(angles: np.ndarray, center: float) -> None:
    assert find_rotation_center(discs_sinogram(angles, center), angles) == pytest.approx(center, abs=0.1)


def test_rotation_center_is_used_when_none_is_given(tmp_path: Path) -> None:
    path = raw_scan(tmp_path / "raw.h5", discs_sinogram(ANGLES, 57.5).numpy())
    found = read_data_exchange(path).geometry.detector_centers
    given = read_data_exchange(path, rotation_center=57.5).geometry.detector_centers
    np.testing.assert_allclose(found, given, atol=0.1)


def test_rotation_center_that_cannot_be_found_is_refused() -> None:
    quarter = np.linspace(0, np.pi / 2, 30)
    with pytest.raises(ValueError, match="face each other") as short:
        find_rotation_center(discs_sinogram(quarter, 60.0), quarter)
    one_line(short, "rotation_center")
    with pytest.raises(ValueError, match="do not match"):
        find_rotation_center(torch.ones(60, 1, 128), ANGLES)
    with pytest.raises(ValueError, match=r"\(59,\)"):
        find_rotation_center(torch.ones(60, 1, 128), ANGLES[1:])


def test_measured_tooth_turns_about_column_295_and_a_half() -> None:
    if not TOOTH.exists():
        pytest.skip("tooth.h5 is not here")
    scan = read_data_exchange(TOOTH)
    assert scan.geometry.shape == (181, 2, 640)
    offset = (scan.geometry.detector_centers[0] @ scan.geometry.u_steps[0]).item()
    assert (640 - 1) / 2 - offset == pytest.approx(295.5, abs=0.5)
    assert 0 < scan.data.mean() < scan.data.max() < 5
