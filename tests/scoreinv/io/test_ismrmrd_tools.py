"""Files that the format's own tools write read as those tools read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from toy_mrd import (
    fft,
)

from scoreinv.io import read_ismrmrd, read_kspace


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
