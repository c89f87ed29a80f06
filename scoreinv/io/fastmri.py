"""Cartesian 2D multi-slice k-space of the fastMRI data set, in HDF5.

Zbontar et al., "fastMRI: an open dataset and benchmarks for accelerated MRI", arXiv:1811.08839, section 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from scoreinv.io._mrd_header import Encoding, read_encodings
from scoreinv.io.hdf5 import dataset, open_hdf5
from scoreinv.io.kspace import KSpace, remove_oversampling

SUFFIXES = (".h5", ".hdf5")
_REFERENCES = ("reconstruction_rss", "reconstruction_esc")


def read_fastmri(path: str | Path, slice: int | None = None) -> list[KSpace]:
    """The slices of a fastMRI file, with axes (y, x) = (readout, phase) as in its reconstructions.

    Oversampling along the readout is removed (640 to 320 rows in most files), that along the phase stays, since it
    cannot be cut before unfolding; `KSpace.crop` then gives the scanner's image (320 x 320). Columns are sampled where
    they are not zero in all coils, and where the file's own mask allows it. Single-coil files have one coil.

    Args:
        path: HDF5 with `/kspace` (slices, coils, rows, columns) or (slices, rows, columns), `/ismrmrd_header`, and
            possibly `/mask` (columns,) and a reconstruction, which becomes the `reference`.
        slice: number of one slice, counted from 0; None reads all.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged or other file, sizes that disagree, NaN, a slice that is absent, or nothing sampled.
    """
    with open_hdf5(path, SUFFIXES) as file:
        stored = dataset(file, "kspace")
        if stored.ndim not in (3, 4) or stored.dtype.kind != "c":
            raise ValueError(
                f"/kspace is {stored.dtype} of shape {stored.shape}, expected complex (slices, coils, rows, columns) "
                "or (slices, rows, columns); is it raw data?"
            )
        if slice is not None and slice not in range(len(stored)):
            raise ValueError(f"slice is {slice}, expected 0 to {len(stored) - 1}; pass one of them")
        encoding = read_encodings(dataset(file, "ismrmrd_header")[()])[0]
        mask = np.asarray(file["mask"][:]).astype(bool).ravel() if "mask" in file else np.ones(stored.shape[-1], bool)
        if len(mask) != stored.shape[-1]:
            raise ValueError(f"/mask has {len(mask)} columns, expected {stored.shape[-1]} as in /kspace")
        numbers = range(len(stored)) if slice is None else (slice,)
        return [_slice(file, stored, number, mask, encoding) for number in numbers]


def _slice(file: Any, stored: Any, number: int, columns: np.ndarray[Any, Any], encoding: Encoding) -> KSpace:
    k_space = torch.from_numpy(np.asarray(stored[number], dtype=np.complex64)).reshape(-1, *stored.shape[-2:])
    sampled = (k_space != 0).any(dim=0).any(dim=0) & torch.from_numpy(columns)
    if not sampled.any():
        raise ValueError(f"/kspace has nothing sampled in slice {number}; copy the file again")
    reference = next((file[name][number] for name in _REFERENCES if name in file), None)
    # The header's axes are x along the readout, y along the phase.
    shown = (encoding.shown[2], encoding.shown[1]) if reference is None else reference.shape
    rows, phases = (min(n, m) for n, m in zip(shown, stored.shape[-2:], strict=True))
    thickness, width, height = encoding.voxel_size
    data = remove_oversampling((k_space * sampled).mT, rows).mT.contiguous()
    return KSpace(
        data,
        sampled.expand(data.shape[1:]).clone(),
        recon_shape=(rows, phases),
        voxel_size=(thickness, height, width),
        reference=None if shown != (rows, phases) or reference is None else torch.from_numpy(np.float32(reference)),
        index={"slice": number},
    )
