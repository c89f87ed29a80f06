"""BART's arrays: complex64 in `name.cfl`, sizes in `name.hdr`.

BART lists its sizes from the axis that varies fastest; read row by row, the same bytes have the axes reversed. So
BART's dimensions 0 to 4 (x along the readout, y, z, coils, maps) are (maps, coils, z, y, x) here, k-space has frequency
0 at index n // 2 in both, and `bart fft -u` is the same orthonormal transform. Non-Cartesian samples (1, samples,
shots, coils) become (coils, shots, samples, 1), a trajectory (3, samples, shots) becomes (shots, samples, 3), in
(kx, ky, kz) and units of 1 / FOV: flip the last axis and multiply by 2 pi / matrix.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoreinv.io.atomic import atomic_pair

_DIMENSIONS = 16
_LEAST_AXES = 4  # (coils, z, y, x)


def read_cfl(path: str | Path) -> Tensor:
    """Read `name.cfl` and `name.hdr`, given with either suffix or none, as complex64.

    Returns:
        (..., coils, z, y, x): axes reversed from BART's, leading ones of length 1 left out down to four.

    Raises:
        FileNotFoundError: unless both files are there.
        ValueError: for a damaged header, or a `.cfl` of another size than the header says.
    """
    cfl, hdr = _pair(path)
    for file in (hdr, cfl):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file, expected {cfl.name} and {hdr.name} side by side; copy both")
    sizes = _sizes(hdr)
    expected, found = 8 * math.prod(sizes), cfl.stat().st_size
    if found != expected:
        raise ValueError(
            f"{cfl}: holds {found} bytes, expected {expected} for the sizes {' '.join(map(str, sizes))} in {hdr.name}; "
            "copy or write both files again"
        )
    shape = sizes[::-1]
    while len(shape) > _LEAST_AXES and shape[0] == 1:
        shape = shape[1:]
    values = np.fromfile(cfl, dtype="<c8").astype(np.complex64, copy=False)
    return torch.from_numpy(values.reshape(shape))


def write_cfl(path: str | Path, array: Tensor) -> None:
    """Write an array (..., coils, z, y, x), with up to 16 axes, as `name.cfl` and `name.hdr`; both are replaced.

    A slice (y, x) is a BART image of one slice; k-space of a slice needs its axis: (coils, 1, y, x).

    Raises:
        FileNotFoundError: if the folder does not exist.
        TypeError: if the array is not complex64.
        ValueError: for more than 16 axes or none, or an empty array.
    """
    cfl, hdr = _pair(path)
    if array.dtype != torch.complex64:
        raise TypeError(f"{cfl}: array is {array.dtype}, expected complex64; convert with .to(torch.complex64)")
    if not 1 <= array.ndim <= _DIMENSIONS or not array.numel():
        raise ValueError(f"{cfl}: array has shape {tuple(array.shape)}, expected 1 to {_DIMENSIONS} axes, none empty")
    sizes = tuple(array.shape)[::-1] + (1,) * (_DIMENSIONS - array.ndim)
    with atomic_pair(hdr, cfl) as (header, values):
        array.detach().cpu().resolve_conj().contiguous().numpy().astype("<c8", copy=False).tofile(values)
        header.write_text(f"# Dimensions\n{' '.join(map(str, sizes))}\n")


def _pair(path: str | Path) -> tuple[Path, Path]:
    name = str(path)
    if name.lower().endswith((".cfl", ".hdr")):
        name = name[:-4]
    return Path(name + ".cfl"), Path(name + ".hdr")


def _sizes(hdr: Path) -> tuple[int, ...]:
    lines = hdr.read_bytes().decode("latin-1").splitlines()
    try:
        line = lines[lines.index("# Dimensions") + 1]
        sizes = tuple(int(word) for word in line.split())
    except (ValueError, IndexError):
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{hdr}: has no line of positive sizes below '# Dimensions'; write the header again")
    return sizes
