"""ISMRMRD files give the k-space that was simulated, at its place."""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from toy_mrd import (
    COILS,
    HEIGHT,
    WIDTH,
    assert_close,
    assert_one_line,
    encoding,
    fft,
    line,
    lines,
    oversampled,
    random,
    space,
    write,
)

from scoreinv.io import read_ismrmrd


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
        assert_close(k.data, fft(image))
        assert k.mask is not None
        assert k.mask.all()
        assert k.recon_shape == k.image_shape == (HEIGHT, WIDTH)
        assert k.voxel_size == (5.0, 2.0, 1.5)
        assert k.noise is not None
        assert_close(k.noise, 2 * noise)  # a quarter of the dwell time is four times the bandwidth


def test_undersampled_lines_lie_about_the_centre_that_the_header_gives(tmp_path: Path) -> None:
    k_space = oversampled(random(COILS, HEIGHT, WIDTH))
    kept = [1, 4, 6, 7, 11]
    scan = [line(k_space[:, y], y - 2) for y in kept if y > 1]  # the counter starts at line 2 of the matrix
    k = read_ismrmrd(write(tmp_path / "scan.h5", scan, encoding(centers=(None, HEIGHT // 2 - 2))))[0]
    assert k.mask is not None
    np.testing.assert_array_equal(torch.nonzero(k.mask.all(dim=1)).ravel(), kept[1:])
    assert k.mask.sum() == 4 * WIDTH
    assert_close(k.data, fft(random(COILS, HEIGHT, WIDTH)) * k.mask.numpy())


def test_partial_echo_keeps_its_samples_and_the_oversampled_grid(tmp_path: Path) -> None:
    k_space = oversampled(random(COILS, HEIGHT, WIDTH))
    missing = 9
    scan = lines(k_space[:, :, missing:], center_sample=WIDTH - missing)
    k = read_ismrmrd(write(tmp_path / "scan.h5", scan))[0]
    assert k.mask is not None
    assert k.recon_shape == (HEIGHT, WIDTH)
    assert not k.mask[:, :missing].any()
    assert k.mask[:, missing:].all()
    assert_close(k.data[..., missing:], k_space[..., missing:])
    full = read_ismrmrd(write(tmp_path / "full.h5", lines(k_space)))[0]
    shown = k.crop(torch.from_numpy(fft(k_space.conj()).conj()))
    assert_close(shown, fft(full.data.numpy().conj()).conj())


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
    assert_close(read_ismrmrd(write(tmp_path / "scan.h5", scan))[0].data, fft(random(COILS, HEIGHT, WIDTH)))


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
        assert_close(k.calibration[:, 5], fft(random(COILS, HEIGHT, WIDTH, seed=1))[:, 5])
    assert_close(frames[0].data[:, 7], fft(random(COILS, HEIGHT, WIDTH))[:, 7])


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
    assert_close(k.crop(torch.from_numpy(image)), image[:, 1:5])


def test_images_are_selected_by_their_counters(tmp_path: Path) -> None:
    k_space = oversampled(random(6, COILS, HEIGHT, WIDTH))
    scan = [
        readout for n in range(6) for readout in lines(k_space[n], counters={"contrast": n // 3, "repetition": n % 3})
    ]
    path = write(tmp_path / "scan.h5", scan)
    assert len(read_ismrmrd(path)) == 6
    chosen = read_ismrmrd(path, contrast=1, repetition=2)
    assert [k.index for k in chosen] == [{"slice": 0, "contrast": 1, "phase": 0, "repetition": 2, "set": 0}]
    assert_close(chosen[0].data, fft(random(6, COILS, HEIGHT, WIDTH))[5])
    with pytest.raises(ValueError, match=r"no lines of repetition 3, expected one of \[0, 1, 2\]") as error:
        read_ismrmrd(path, repetition=3)
    assert_one_line(error, "scan.h5")
    with pytest.raises(TypeError, match="cannot select by average"):
        read_ismrmrd(path, average=1)


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
