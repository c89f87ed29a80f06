"""Files of k-space are told apart by name and contents; NumPy arrays are sampled where they are not zero."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from scoreinv.io import read_kspace, read_kspace_npy, write_cfl

MEASURED = Path(__file__).parents[3] / "../shared/data/raw_mr/cartesian_ksp.npy"


def k_space(*shape: int) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((*shape, 2)).view(np.complex128)[..., 0]
    values[..., 1::2] = 0
    return values


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 2, 4, 6)])
def test_array_is_sampled_where_any_coil_is_not_zero(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = k_space(*shape)
    values[0, ..., 0] = 0
    np.save(tmp_path / "k.npy", values)
    (k,) = read_kspace(tmp_path / "k.npy")
    assert k.mask is not None
    np.testing.assert_array_equal(k.mask, np.broadcast_to(np.arange(6) % 2 == 0, shape[1:]))
    np.testing.assert_array_equal(k.data, values.astype(np.complex64))
    assert k.voxel_size is None


@pytest.mark.parametrize("depth", [1, 2])
def test_cfl_of_one_slice_is_two_dimensional(depth: int, tmp_path: Path) -> None:
    values = torch.from_numpy(k_space(3, depth, 4, 6).astype(np.complex64))
    write_cfl(tmp_path / "k", values)
    for suffix in (".cfl", ".hdr"):
        (k,) = read_kspace(tmp_path / f"k{suffix}")
        assert torch.equal(k.data, values.squeeze(1) if depth == 1 else values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((2, 3, 4)), "holds float64, expected complex"),
        (k_space(3, 4), r"has shape \(3, 4\), expected \(coils, y, x\)"),
        (np.zeros((2, 3, 4), complex), "is zero everywhere"),
        (np.full((2, 3, 4), np.nan, complex), "NaN or Inf"),
    ],
)
def test_arrays_that_are_no_k_space_are_refused(values: np.ndarray, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", values)
    with pytest.raises(ValueError, match=words) as error:
        read_kspace_npy(tmp_path / "k.npy")
    assert "k.npy" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_and_damaged_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", k_space(3, 4, 6))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "k.npy").read_bytes()[:300])
    (tmp_path / "text.npy").write_text("k-space")
    for name in ("cut.npy", "text.npy"):
        with pytest.raises(ValueError, match=f"{name}: damaged or not a NumPy array"):
            read_kspace(tmp_path / name)
    with pytest.raises(ValueError, match=r"expected k-space named \*\.h5"):
        read_kspace(tmp_path / "k.mat")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_kspace(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.zeros(3)
    with pytest.raises(ValueError, match="no ISMRMRD dataset"):
        read_kspace(tmp_path / "other.h5")
    with pytest.raises(TypeError, match="no option slice"):
        read_kspace(tmp_path / "k.npy", slice=2)
    write_cfl(tmp_path / "maps", torch.ones(2, 3, 1, 4, 6, dtype=torch.complex64))
    with pytest.raises(ValueError, match="read other arrays with read_cfl"):
        read_kspace(tmp_path / "maps.cfl")


@pytest.mark.skipif(not MEASURED.is_file(), reason="needs the shared data")
def test_measured_brain_is_sampled_at_an_eighth() -> None:
    (k,) = read_kspace(MEASURED)
    assert k.data.shape == (8, 230, 180)
    assert k.mask is not None
    assert float(k.mask.float().mean()) == pytest.approx(0.124, abs=1e-3)
    peak = np.unravel_index(int(k.data.abs().sum(dim=0).argmax()), k.image_shape)
    assert max(abs(p - n // 2) for p, n in zip(peak, k.image_shape, strict=True)) <= 1
