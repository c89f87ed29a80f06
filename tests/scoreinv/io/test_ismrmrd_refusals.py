"""ISMRMRD files that cannot be read are named in one line, with what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
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
    radial,
    random,
    space,
    spokes,
    write,
)

from scoreinv.io import KSpace, read_ismrmrd


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
    assert_one_line(error, "scan.h5")
    assert read_ismrmrd(path, encoding=0)[0].image_shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(read_ismrmrd(path, encoding=1)[0].data.numpy(), k_space[1])
    with pytest.raises(ValueError, match="encoding 2 has no readouts"):
        read_ismrmrd(path, encoding=2)


def test_nan_is_named_by_its_acquisition(tmp_path: Path) -> None:
    scan = lines(oversampled(random(COILS, HEIGHT, WIDTH)))
    scan[7].data[1, 5] = np.nan
    with pytest.raises(ValueError, match="NaN or Inf in acquisition 7 and 0 more") as error:
        read_ismrmrd(write(tmp_path / "scan.h5", scan))
    assert_one_line(error, "scan.h5")


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
        assert_one_line(error, f"scan_{name}.h5", *words)
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
        assert_one_line(error, *words)
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
    assert_close(second.data, fft(random(2, COILS, HEIGHT, WIDTH)[1]))
