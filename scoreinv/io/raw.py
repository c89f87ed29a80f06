"""k-space of any file that is understood, by its name and contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import fastmri, ismrmrd
from scoreinv.io.atomic import check_exists
from scoreinv.io.bart import read_cfl
from scoreinv.io.fastmri import read_fastmri
from scoreinv.io.hdf5 import open_hdf5
from scoreinv.io.ismrmrd import read_ismrmrd
from scoreinv.io.kspace import KSpace

_HDF5 = tuple(dict.fromkeys(ismrmrd.SUFFIXES + fastmri.SUFFIXES))
SUFFIXES = (*_HDF5, ".cfl", ".hdr", ".npy")


def read_kspace(path: str | Path, **options: Any) -> list[KSpace]:
    """Every image of an ISMRMRD, fastMRI, BART (Cartesian) or NumPy file.

    Args:
        path: `.h5`, `.hdf5`, `.mrd`, `.ismrmrd`, `.cfl`, `.hdr` or `.npy`.
        options: those of `read_ismrmrd` and `read_fastmri`; BART and NumPy files have none.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: for an option that the reader of this file does not have.
        ValueError: for another suffix or contents, and as the readers say.
    """
    name = str(path).lower()
    checked = check_exists(path, SUFFIXES, "k-space")
    if name.endswith(_HDF5):
        with open_hdf5(checked, _HDF5) as file:
            read = read_fastmri if "kspace" in file else read_ismrmrd
        return read(checked, **options)
    if options:
        raise TypeError(f"{path}: has one image and no option {', '.join(options)}; leave them out")
    return [read_kspace_npy(checked) if name.endswith(".npy") else _cfl(checked)]


def read_kspace_npy(path: str | Path) -> KSpace:
    """Cartesian k-space (coils, y, x) or (coils, z, y, x), complex, frequency 0 at n // 2, zero where not sampled.

    A point is sampled where any coil is not zero. The file knows neither voxel size nor place.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another suffix or a damaged file, real numbers, another rank, NaN, or zeros alone.
    """
    checked = check_exists(path, (".npy",), "a NumPy array")
    try:
        stored = np.load(checked, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged or not a NumPy array ({reason}); save it again with np.save") from error
    if stored.dtype.kind != "c":
        raise ValueError(f"{path}: holds {stored.dtype}, expected complex k-space; save real and imaginary part as one")
    return _on_grid(path, torch.from_numpy(stored.astype(np.complex64)))


def _cfl(path: Path) -> KSpace:
    stored = read_cfl(path)
    if stored.ndim != 4 or stored.shape[-1] == 1:
        raise ValueError(
            f"{path}: has shape {tuple(stored.shape)}, expected (coils, z, y, x) of one Cartesian image; read other "
            "arrays with read_cfl and choose"
        )
    return _on_grid(path, stored.squeeze(1) if stored.shape[1] == 1 else stored)


def _on_grid(path: str | Path, data: Tensor) -> KSpace:
    if data.ndim not in (3, 4) or not data.numel():
        raise ValueError(f"{path}: has shape {tuple(data.shape)}, expected (coils, y, x) or (coils, z, y, x)")
    mask = (data != 0).any(dim=0)
    if not mask.any():
        raise ValueError(f"{path}: is zero everywhere, expected samples; export it again")
    try:
        return KSpace(data, mask)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
