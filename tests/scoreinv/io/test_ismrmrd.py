"""ISMRMRD files give the k-space that was simulated, at its place; bad files are named in one line."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
import torch

from scoreinv.io import KSpace, read_ismrmrd, read_kspace

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


def close(got: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-6)


def one_line(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_slices_with_reversed_lines_averages_noise_and_navigators(tmp_path: Path) -> None:
    images = random(2, COILS, HEIGHT, WIDTH)
    error = random(2, COILS, HEIGHT, 2 * WIDTH, seed=1)
    noise = random(COILS, 40, seed=2)
    scan = [line(noise, flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,), sample_time_us=20.0)]
    for average, sign in enumerate((1, -1)):
        for n, k_space in enumerate(oversampled(images) + sign * error):
            for y in range(HEIGHT):
                counters = {"slice": n, "average": average}
                scan.append(line(k_space[:, y], y, counters=counters))
                if y % 2:
                    scan[-1] = line(k_space[:, y, ::-1], y, flags=(ismrmrd.ACQ_IS_REVERSE,), counters=counters)
            others = (ismrmrd.ACQ_IS_NAVIGATION_DATA, ismrmrd.ACQ_IS_PHASECORR_DATA, ismrmrd.ACQ_IS_DUMMYSCAN_DATA)
            scan += [line(1e3 * k_space[:, 0], 3, flags=(flag,)) for flag in others]

    slices = read_ismrmrd(write(tmp_path / "scan.h5", scan))

    assert [k.index["slice"] for k in slices] == [0, 1]
    for k, image in zip(slices, images, strict=True):
        close(k.data, fft(image))
        assert k.mask is not None
        assert k.mask.all()
        assert k.recon_shape == k.image_shape == (HEIGHT, WIDTH)
        assert k.voxel_size == (5.0, 2.0, 1.5)
        assert k.noise is not None
        close(k.noise, 2 * noise)  # a quarter of the dwell time is four times the bandwidth


def test_undersampled_lines_lie_about_the_centre_that_the_header_gives(tmp_path: Path) -> None:
    k_space = oversampled(random(COILS, HEIGHT, WIDTH))
    kept = [1, 4, 6, 7, 11]
    scan = [line(k_space[:, y], y - 2) for y in kept if y > 1]  # the counter starts at line 2 of the matrix
    k = read_ismrmrd(write(tmp_path / "scan.h5", scan, encoding(centers=(None, HEIGHT // 2 - 2))))[0]
    assert k.mask is not None
    np.testing.assert_array_equal(torch.nonzero(k.mask.all(dim=1)).ravel(), kept[1:])
    assert k.mask.sum() == 4 * WIDTH
    close(k.data, fft(random(COILS, HEIGHT, WIDTH)) * k.mask.numpy())


def test_partial_echo_keeps_its_samples_and_the_oversampled_grid(tmp_path: Path) -> None:
    k_space = oversampled(random(COILS, HEIGHT, WIDTH))
    missing = 9
    scan = lines(k_space[:, :, missing:], center_sample=WIDTH - missing)
    k = read_ismrmrd(write(tmp_path / "scan.h5", scan))[0]
    assert k.mask is not None
    assert k.recon_shape == (HEIGHT, WIDTH)
    assert not k.mask[:, :missing].any()
    assert k.mask[:, missing:].all()
    close(k.data[..., missing:], k_space[..., missing:])
    full = read_ismrmrd(write(tmp_path / "full.h5", lines(k_space)))[0]
    shown = k.crop(torch.from_numpy(fft(k_space.conj()).conj()))
    close(shown, fft(full.data.numpy().conj()).conj())


@pytest.mark.parametrize("reverse", [False, True])
def test_discarded_samples_count_in_the_stored_order(reverse: bool, tmp_path: Path) -> None:
    k_space = oversampled(random(COILS, HEIGHT, WIDTH))
    before, after = 3, 5
    filled = np.pad(k_space, ((0, 0), (0, 0), (before, after)), constant_values=np.nan)
    if reverse:
        before, after = after, before
    scan = [
        line(
            filled[:, y, ::-1] if reverse else filled[:, y],
            y,
            flags=(ismrmrd.ACQ_IS_REVERSE,) if reverse else (),
            discard_pre=before,
            discard_post=after,
            center_sample=3 + WIDTH,
        )
        for y in range(HEIGHT)
    ]
    close(read_ismrmrd(write(tmp_path / "scan.h5", scan))[0].data, fft(random(COILS, HEIGHT, WIDTH)))


def test_calibration_lines_are_apart_unless_they_image_too(tmp_path: Path) -> None:
    imaging, calibration = (oversampled(random(COILS, HEIGHT, WIDTH, seed=s)) for s in (0, 1))
    alone, both = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    scan = [line(imaging[:, y], y, counters={"repetition": n}) for n in (0, 1) for y in range(0, HEIGHT, 2)]
    scan += [line(calibration[:, y], y, flags=(alone,)) for y in (5, 6)]
    scan += [line(imaging[:, 7], 7, flags=(both,))]
    frames = read_ismrmrd(write(tmp_path / "scan.h5", scan))
    for n, k in enumerate(frames):
        assert k.mask is not None
        assert k.calibration is not None
        assert sorted(torch.nonzero(k.mask[:, 0]).ravel().tolist()) == sorted([*range(0, HEIGHT, 2)] + [7] * (n == 0))
        lines_seen = torch.nonzero(k.calibration.abs().sum(dim=(0, 2))).ravel().tolist()
        assert lines_seen == [5, 6, 7]
        close(k.calibration[:, 5], fft(random(COILS, HEIGHT, WIDTH, seed=1))[:, 5])
    close(frames[0].data[:, 7], fft(random(COILS, HEIGHT, WIDTH))[:, 7])


def test_volume_with_slice_oversampling_and_odd_matrix(tmp_path: Path) -> None:
    depth = 6
    image = random(COILS, depth, 9, WIDTH)
    k_space = fft(image, (-3, -2, -1))
    scan = [line(k_space[:, z, y], y, z) for z in range(depth) for y in range(9)]
    here = encoding(space((depth, 9, WIDTH), (12, 9, WIDTH)), space((4, 9, WIDTH), (8, 9, WIDTH)))
    k = read_ismrmrd(write(tmp_path / "scan.mrd", scan, here))[0]
    np.testing.assert_array_equal(k.data.numpy(), k_space)
    assert k.recon_shape == (4, 9, WIDTH)
    assert k.voxel_size == (2.0, 1.0, 1.0)
    close(k.crop(torch.from_numpy(image)), image[:, 1:5])


def test_images_are_selected_by_their_counters(tmp_path: Path) -> None:
    k_space = oversampled(random(6, COILS, HEIGHT, WIDTH))
    scan = [
        readout for n in range(6) for readout in lines(k_space[n], counters={"contrast": n // 3, "repetition": n % 3})
    ]
    path = write(tmp_path / "scan.h5", scan)
    assert len(read_ismrmrd(path)) == 6
    chosen = read_ismrmrd(path, contrast=1, repetition=2)
    assert [k.index for k in chosen] == [{"slice": 0, "contrast": 1, "phase": 0, "repetition": 2, "set": 0}]
    close(chosen[0].data, fft(random(6, COILS, HEIGHT, WIDTH))[5])
    with pytest.raises(ValueError, match=r"no lines of repetition 3, expected one of \[0, 1, 2\]") as error:
        read_ismrmrd(path, repetition=3)
    one_line(error, "scan.h5")
    with pytest.raises(TypeError, match="cannot select by average"):
        read_ismrmrd(path, average=1)


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


@pytest.mark.parametrize("unit", ["1/voxel", "rad/voxel", "1/encoded_fov", "1/fov", "1/mm", "1/m"])
def test_trajectories_in_any_unit_become_rad_per_voxel(unit: str, tmp_path: Path) -> None:
    k, stored = radial(unit)
    path = write(tmp_path / "scan.h5", spokes(stored), encoding(kind="radial"))
    shots = read_ismrmrd(path, trajectory_unit=unit)[0]
    assert shots.mask is None
    assert shots.trajectory is not None
    np.testing.assert_allclose(shots.trajectory.numpy(), k, atol=1e-5)
    assert shots.image_shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(shots.data.numpy(), random(COILS, 4, 16))
    found = read_ismrmrd(path)[0].trajectory
    assert found is not None
    torch.testing.assert_close(found, shots.trajectory)


def test_trajectory_whose_unit_is_not_clear_is_refused(tmp_path: Path) -> None:
    _, stored = radial()
    here = encoding(kind="spiral")
    with pytest.raises(ValueError, match="could be none known; pass trajectory_unit") as short:
        read_ismrmrd(write(tmp_path / "short.h5", spokes(0.7 * stored), here))
    one_line(short, "short.h5", "reaches 0.3491")
    # Voxels of 0.98 mm: 0.49 is the edge in 1/mm and nearly that in 1/voxel.
    small = space((1, HEIGHT, WIDTH), (5, 0.98 * HEIGHT, 0.98 * WIDTH))
    path = write(tmp_path / "two.h5", spokes(stored), encoding(small, small, kind="radial"))
    with pytest.raises(ValueError, match=r"1/voxel or 1/mm"):
        read_ismrmrd(path)
    assert len(read_ismrmrd(path, trajectory_unit="1/voxel")) == 1
    with pytest.raises(ValueError, match=r"'1/parsec', expected one of 1/voxel"):
        read_ismrmrd(path, trajectory_unit="1/parsec")
    with pytest.raises(ValueError, match=r"leads to 98\.\d+ rad per voxel"):
        read_ismrmrd(write(tmp_path / "far.h5", spokes(10 * np.pi * stored), here), trajectory_unit="1/voxel")


def test_samples_just_beyond_the_edge_are_a_turn_back(tmp_path: Path) -> None:
    k, stored = radial()
    path = write(tmp_path / "scan.h5", spokes(1.02 * stored), encoding(kind="radial"))
    found = read_ismrmrd(path)[0].trajectory
    assert found is not None
    position = torch.tensor([3.0, -5.0])
    assert found.abs().max() <= np.float32(np.pi)
    np.testing.assert_allclose(
        torch.exp(1j * (found @ position)), np.exp(1j * 1.02 * k.astype(np.float64) @ position.numpy()), atol=2e-5
    )


def test_weights_in_a_third_coordinate_of_a_2d_scan_are_no_frequencies(tmp_path: Path) -> None:
    k, stored = radial()
    weighted = np.concatenate([stored, 40 + 0 * stored[..., :1]], axis=-1)
    shots = read_ismrmrd(write(tmp_path / "scan.h5", spokes(weighted), encoding(kind="spiral")))[0]
    assert shots.trajectory is not None
    np.testing.assert_allclose(shots.trajectory.numpy(), k, atol=1e-6)


def test_planes_of_spokes_are_stacked_by_their_counter(tmp_path: Path) -> None:
    k, stored = radial()
    scan = [line(random(COILS, 16), n, z, trajectory=stored[n]) for z in range(6) for n in range(4)]
    encoded = space((6, HEIGHT, 2 * WIDTH), (12, 2 * HEIGHT, 3 * WIDTH))
    recon = space((4, HEIGHT, WIDTH), (8, 2 * HEIGHT, 1.5 * WIDTH))
    shots = read_ismrmrd(write(tmp_path / "scan.h5", scan, encoding(encoded, recon, "goldenangle", (3, None))))[0]
    assert shots.image_shape == (4, HEIGHT, WIDTH)
    assert shots.trajectory is not None
    np.testing.assert_allclose(shots.trajectory[:4, :, 1:], k, atol=1e-6)
    np.testing.assert_allclose(shots.trajectory[::4, 0, 0], 2 * np.pi * (np.arange(6) - 3) / 6, atol=1e-6)


def test_image_lies_where_the_header_places_it(tmp_path: Path) -> None:
    # A sagittal slice: readouts run to the feet, phases to the back, slices to the left.
    directions = {"read_dir": (0, 0, -1), "phase_dir": (0, 1, 0), "slice_dir": (1, 0, 0), "position": (-20, 30, 40)}
    k = read_ismrmrd(write(tmp_path / "scan.h5", lines(oversampled(random(COILS, HEIGHT, WIDTH)), **directions)))[0]
    magnitude = torch.zeros(HEIGHT, WIDTH)
    magnitude[HEIGHT // 2 + 1, WIDTH // 2 + 3] = 1  # 2 mm to the back and 4.5 mm to the feet of the centre
    placed = k.place(magnitude)
    assert placed.data.shape == (WIDTH, HEIGHT, 1)
    assert placed.voxel_size == (1.5, 2.0, 5.0)
    np.testing.assert_allclose(placed.direction, np.eye(3), atol=1e-7)
    voxel = np.argwhere(placed.data.numpy())[0]
    np.testing.assert_allclose(placed.origin + voxel * placed.voxel_size, (40 - 4.5, 30 + 2, -20))


def test_header_of_a_vendor_with_elements_of_its_own_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", lines(oversampled(random(COILS, HEIGHT, WIDTH))))
    with h5py.File(path, "r+") as file:
        xml = file["dataset/xml"][0].decode().replace("</encodedSpace>", "</encodedSpace><vendor>1</vendor>")
        file["dataset/xml"][0] = xml.encode()
    assert len(read_ismrmrd(path)) == 1


def test_scan_broken_off_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    k_space = oversampled(random(COILS, HEIGHT, WIDTH))
    scan = lines(k_space) + lines(k_space, counters={"repetition": 1})[:3]
    with caplog.at_level(logging.WARNING, "scoreinv"):
        assert len(read_ismrmrd(write(tmp_path / "scan.h5", scan))) == 2
    assert "repetition 1, set 0 has 3 readouts, others up to 12" in caplog.text


def test_non_cartesian_file_without_trajectory_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", lines(random(COILS, 4, 16)), encoding(kind="radial"))
    with pytest.raises(ValueError, match=r"is radial and has no trajectory .* acquisition 0 and 3 more") as error:
        read_ismrmrd(path)
    one_line(error, "scan.h5", "store trajectories")


def test_images_of_two_encodings_need_a_choice(tmp_path: Path) -> None:
    k_space = oversampled(random(2, COILS, HEIGHT, WIDTH))
    path = write(
        tmp_path / "scan.h5",
        lines(k_space[0]) + lines(k_space[1], encoding_space_ref=1),
        encoding(),
        encoding(recon=space((1, HEIGHT, 2 * WIDTH), (5, 2 * HEIGHT, 3 * WIDTH))),
    )
    with pytest.raises(ValueError, match=r"encodings \[0, 1\], expected one; pass encoding=0") as error:
        read_ismrmrd(path)
    one_line(error, "scan.h5")
    assert read_ismrmrd(path, encoding=0)[0].image_shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(read_ismrmrd(path, encoding=1)[0].data.numpy(), k_space[1])
    with pytest.raises(ValueError, match="encoding 2 has no readouts"):
        read_ismrmrd(path, encoding=2)


def test_nan_is_named_by_its_acquisition(tmp_path: Path) -> None:
    scan = lines(oversampled(random(COILS, HEIGHT, WIDTH)))
    scan[7].data[1, 5] = np.nan
    with pytest.raises(ValueError, match="NaN or Inf in acquisition 7 and 0 more") as error:
        read_ismrmrd(write(tmp_path / "scan.h5", scan))
    one_line(error, "scan.h5")


def test_readouts_that_do_not_fit_are_named(tmp_path: Path) -> None:
    k_space = oversampled(random(COILS, HEIGHT, WIDTH))
    noise = [line(k_space[:, 0], flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))]
    for name, scan, words in (
        ("outside", [*lines(k_space), line(k_space[:, 0], HEIGHT)], ("acquisition 12", "outside the encoded matrix")),
        ("coils", [*lines(k_space), line(k_space[:2, 0])], ("acquisition 12 has 2 coils",)),
        ("noise", noise, ("no imaging readouts",)),
        ("long", [line(np.pad(k_space[:, 0], ((0, 0), (0, 2))), 0)], ("acquisition 0", "outside the encoded matrix")),
    ):
        with pytest.raises(ValueError, match="scan") as error:
            read_ismrmrd(write(tmp_path / f"scan_{name}.h5", scan))
        one_line(error, f"scan_{name}.h5", *words)
    _, stored = radial()
    shots = [*spokes(stored), line(random(COILS, 8), 0, trajectory=stored[0, :8])]
    with pytest.raises(ValueError, match=r"shots of \[8, 16\] samples"):
        read_ismrmrd(write(tmp_path / "shots.h5", shots, encoding(kind="radial")))


def test_damaged_and_other_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", lines(oversampled(random(COILS, HEIGHT, WIDTH))))
    whole = path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.zeros(3)
    shutil.copy(path, tmp_path / "header.h5")
    with h5py.File(tmp_path / "header.h5", "r+") as file:
        file["dataset/xml"][0] = b"<ismrmrdHeader>"
    for name, words in {
        "cut.h5": ("damaged or not HDF5",),
        "text.h5": ("damaged or not HDF5",),
        "other.h5": ("no ISMRMRD dataset",),
        "header.h5": ("XML header is damaged",),
    }.items():
        with pytest.raises(ValueError, match=name) as error:
            read_ismrmrd(tmp_path / name)
        one_line(error, *words)
    with pytest.raises(ValueError, match=r"\*\.h5"):
        read_ismrmrd(tmp_path / "scan.dat")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_ismrmrd(tmp_path / "none.h5")


def test_dataset_is_chosen_where_there_are_two(tmp_path: Path) -> None:
    k_space = oversampled(random(2, COILS, HEIGHT, WIDTH))
    for name, values in zip(("first", "second"), k_space, strict=True):
        write(tmp_path / "scan.h5", lines(values), group=name)
    with pytest.raises(ValueError, match=r"first, second, expected one; pass dataset="):
        read_ismrmrd(tmp_path / "scan.h5")
    second: KSpace = read_ismrmrd(tmp_path / "scan.h5", dataset="second")[0]
    close(second.data, fft(random(2, COILS, HEIGHT, WIDTH)[1]))


@pytest.mark.skipif(not shutil.which("ismrmrd_recon_cartesian_2d"), reason="needs ismrmrd-tools")
@pytest.mark.parametrize("options", [(), ("-C", "-c", "3"), ("-r", "2", "-k")])
def test_image_is_that_of_the_formats_own_reconstruction(options: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    generate = ["ismrmrd_generate_cartesian_shepp_logan", "-m", "64", "-o", str(path), *options]
    for command in (generate, ["ismrmrd_recon_cartesian_2d", str(path)]):
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    with h5py.File(path) as file:
        expected = file["dataset/cpp/data"][:].squeeze()
    k_space = read_kspace(path)[-1]  # it writes one repetition over the other
    image = np.sqrt((np.abs(fft(k_space.data.numpy().conj())) ** 2).sum(axis=0))
    scale = (image * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(image, scale * expected, atol=1e-5 * image.max())


@pytest.mark.skipif(not shutil.which("ismrmrd_generate_cartesian_shepp_logan"), reason="needs ismrmrd-tools")
def test_stored_coordinates_and_counters_give_one_image(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    generate = ["ismrmrd_generate_cartesian_shepp_logan", "-m", "32", "-c", "2", "-k", "-o", str(path)]
    subprocess.run(generate, check=True, capture_output=True, timeout=60)
    on_grid = read_ismrmrd(path)[0]
    with h5py.File(path, "r+") as file:
        xml = file["dataset/xml"][0]
        file["dataset/xml"][0] = xml.replace(b"<trajectory>cartesian", b"<trajectory>other")
    shots = read_ismrmrd(path)[0]
    assert shots.trajectory is not None
    assert shots.image_shape == on_grid.image_shape
    voxels = torch.arange(32) - 16.0
    ky, kx = shots.trajectory.reshape(-1, 2, 1).unbind(1)
    along_y, along_x = torch.exp(1j * ky * voxels), torch.exp(1j * kx * voxels)
    images = torch.einsum("cp,py,px->cyx", shots.data.flatten(1), along_y, along_x) / (32 * 64) ** 0.5
    expected = torch.from_numpy(fft(on_grid.data.numpy().conj()).conj())
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
