"""fastMRI files: oversampling goes, the image shown is the file's own reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from scoreinv.io import read_fastmri, read_kspace

SLICES, COILS, ROWS, COLUMNS = 3, 4, 32, 20  # 16 x 16 are shown
HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>63646144</H1resonanceFrequency_Hz></experimentalConditions>
<encoding>
<encodedSpace><matrixSize><x>32</x><y>20</y><z>1</z></matrixSize>
<fieldOfView_mm><x>64</x><y>30.02</y><z>4.5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>16</x><y>16</y><z>1</z></matrixSize>
<fieldOfView_mm><x>32</x><y>24</y><z>4.5</z></fieldOfView_mm></reconSpace>
<encodingLimits/><trajectory>cartesian</trajectory>
</encoding></ismrmrdHeader>"""


def centred(transform: Any, values: np.ndarray) -> np.ndarray:
    axes = (-2, -1)
    return np.fft.fftshift(transform(np.fft.ifftshift(values, axes), axes=axes, norm="ortho"), axes)


def coil_images() -> np.ndarray:
    """(slices, coils, rows, columns), nothing outside the middle half of the rows."""
    values = np.random.default_rng(0).standard_normal((SLICES, COILS, ROWS, COLUMNS, 2)).astype(np.float32)
    images = values.view(np.complex64)[..., 0]
    images[..., :8, :] = images[..., 24:, :] = 0
    return images


def write(path: Path, **changes: Any) -> Path:
    images = coil_images()
    datasets: dict[str, Any] = {
        "kspace": centred(np.fft.fft2, images).astype(np.complex64),
        "ismrmrd_header": HEADER,
        "reconstruction_rss": np.sqrt((np.abs(images) ** 2).sum(axis=1))[:, 8:24, 2:18].astype(np.float32),
    } | changes
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            if values is not None:
                file[name] = values
    return path


def test_sum_of_squares_of_every_slice_is_the_files_reconstruction(tmp_path: Path) -> None:
    slices = read_kspace(write(tmp_path / "file.h5"))
    assert [k.index for k in slices] == [{"slice": n} for n in range(SLICES)]
    for k in slices:
        assert k.data.shape == (COILS, 16, COLUMNS)
        assert k.voxel_size == (4.5, 2.0, 30.02 / 20)
        assert k.mask is not None
        assert k.mask.all()
        assert k.reference is not None
        images = torch.from_numpy(centred(np.fft.ifft2, k.data.numpy()))
        rss = k.crop(images).abs().square().sum(dim=0).sqrt()
        torch.testing.assert_close(rss, k.reference, check_dtype=False, atol=1e-5, rtol=1e-5)


def test_one_slice_is_that_of_all(tmp_path: Path) -> None:
    path = write(tmp_path / "file.h5")
    (alone,) = read_fastmri(path, slice=1)
    assert torch.equal(alone.data, read_fastmri(path)[1].data)
    with pytest.raises(ValueError, match="slice is 3, expected 0 to 2"):
        read_fastmri(path, slice=3)


def test_columns_are_sampled_where_neither_mask_nor_data_are_zero(tmp_path: Path) -> None:
    k_space = centred(np.fft.fft2, coil_images()).astype(np.complex64)
    k_space[..., :2] = 0  # padded by the scanner
    mask = np.arange(COLUMNS) % 3 == 0
    (k, *_) = read_fastmri(write(tmp_path / "file.h5", kspace=k_space, mask=mask.astype(np.float32)))
    assert k.mask is not None
    np.testing.assert_array_equal(k.mask, np.broadcast_to(mask & (np.arange(COLUMNS) >= 2), (16, COLUMNS)))
    assert not k.data[:, ~k.mask].any()
    (whole, *_) = read_fastmri(write(tmp_path / "whole.h5"))
    torch.testing.assert_close(k.data[:, k.mask], whole.data[:, k.mask])


def test_single_coil_file_has_one_coil_and_the_headers_crop(tmp_path: Path) -> None:
    k_space = centred(np.fft.fft2, coil_images()[:, 0]).astype(np.complex64)
    k = read_fastmri(write(tmp_path / "file.h5", kspace=k_space, reconstruction_rss=None))[2]
    assert k.data.shape == (1, 16, COLUMNS)
    assert k.recon_shape == (16, 16)
    assert k.reference is None
    np.testing.assert_allclose(centred(np.fft.ifft2, k.data.numpy())[0], coil_images()[2, 0, 8:24], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kspace": None, "data": np.zeros(3)}, "lacks /kspace"),
        ({"kspace": np.zeros((2, 3))}, r"float64 of shape \(2, 3\), expected complex"),
        ({"ismrmrd_header": None}, "lacks /ismrmrd_header"),
        ({"ismrmrd_header": "<x>"}, "XML header is damaged"),
        ({"mask": np.ones(5)}, "/mask has 5 columns, expected 20"),
        ({"kspace": np.zeros((1, 2, 32, 20), np.complex64)}, "nothing sampled in slice 0"),
        ({"kspace": np.full((1, 2, 32, 20), np.nan, np.complex64)}, "NaN or Inf"),
    ],
)
def test_files_that_are_not_fastmri_are_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words) as error:
        read_fastmri(write(tmp_path / "file.h5", **changes))
    assert "file.h5" in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file.h5")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"file\.h5: damaged or not HDF5"):
        read_kspace(path)
