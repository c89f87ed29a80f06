"""Trajectories of ISMRMRD files, in whatever unit they are stored, become rad per voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_mrd import (
    COILS,
    HEIGHT,
    WIDTH,
    assert_one_line,
    encoding,
    line,
    lines,
    radial,
    random,
    space,
    spokes,
    write,
)

from scoreinv.io import read_ismrmrd


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
    assert_one_line(short, "short.h5", "reaches 0.3491")
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


def test_non_cartesian_file_without_trajectory_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", lines(random(COILS, 4, 16)), encoding(kind="radial"))
    with pytest.raises(ValueError, match=r"is radial and has no trajectory .* acquisition 0 and 3 more") as error:
        read_ismrmrd(path)
    assert_one_line(error, "scan.h5", "store trajectories")
