"""MetaImage files (`.mha`): a header of text lines, then voxels; vectors and axes in (x, y, z) = (L, P, S) order."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scoreinv.io.images import Image

# Reverses (x, y, z) into (z, y, x).
_REVERSE = np.eye(3)[::-1]
_ELEMENT_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def read_metaimage(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """The array (x, y, ...), (3, 3) steps in world (S, P, L) along its axes reversed, (3,) place of its first voxel."""
    with path.open("rb") as file:
        header = _header(file)
        stored = file.read()
    ndim = int(_numbers(header, ("NDims",), 1)[0])
    shape = tuple(int(n) for n in _numbers(header, ("DimSize",), ndim))
    if min(shape, default=0) < 1:
        raise ValueError(f"DimSize is {shape}, expected {ndim} positive lengths; correct the header")
    code = _ELEMENT_TYPES.get(header["ElementType"])
    if code is None or header.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError(
            f"ElementType is {header['ElementType']} with {header.get('ElementNumberOfChannels', '1')} channels, "
            f"expected one channel of {', '.join(_ELEMENT_TYPES)}; convert the image"
        )
    big_endian = _flag(header, "BinaryDataByteOrderMSB") or _flag(header, "ElementByteOrderMSB")
    dtype = np.dtype(code).newbyteorder(">" if big_endian else "<")
    stored = _inflated(stored, math.prod(shape) * dtype.itemsize, _flag(header, "CompressedData"))
    array = np.frombuffer(stored, dtype).reshape(shape[::-1]).T

    spatial = min(ndim, 3)
    matrix, origin, spacing = np.eye(3), np.zeros(3), np.ones(3)
    spacing[:spatial] = _numbers(header, ("ElementSpacing", "ElementSize"), ndim, [1.0] * ndim)[:spatial]
    origin[:spatial] = _numbers(header, ("Offset", "Position", "Origin"), ndim, [0.0] * ndim)[:spatial]
    rows = _numbers(header, ("TransformMatrix", "Orientation", "Rotation"), ndim * ndim, np.eye(ndim).ravel())
    matrix[:spatial, :spatial] = np.reshape(rows, (ndim, ndim)).T[:spatial, :spatial]  # the file lists axis after axis
    return array, _REVERSE @ (matrix * spacing) @ _REVERSE, _REVERSE @ origin


def _header(file: BinaryIO) -> dict[str, str]:
    """The `Key = value` lines up to ElementDataFile, which is the last; the file is left at the first byte of data."""
    header: dict[str, str] = {}
    while "ElementDataFile" not in header:
        key, equals, value = file.readline(4096).decode("latin-1").partition("=")
        if not equals:
            raise ValueError("damaged or not MetaImage (no ElementDataFile in the header); copy or export it again")
        header[key.strip()] = value.strip()
    missing = [key for key in ("NDims", "DimSize", "ElementType") if key not in header]
    if missing:
        raise ValueError(f"header lacks {', '.join(missing)}; copy or export the file again")
    if header["ElementDataFile"] != "LOCAL" or not _flag(header, "BinaryData", "True"):
        raise ValueError(
            f"ElementDataFile is {header['ElementDataFile']} with BinaryData = {header.get('BinaryData', 'True')}, "
            "expected LOCAL binary data; export it as one .mha file"
        )
    return header


def _inflated(stored: bytes, expected: int, compressed: bool) -> bytes:
    if compressed:
        try:
            inflater = zlib.decompressobj()
            stored = inflater.decompress(stored, expected + 1)  # bounded, whatever the file claims to hold
        except zlib.error as error:
            raise ValueError(f"compressed data are damaged ({error}); copy or export the file again") from error
    if len(stored) != expected or (compressed and not inflater.eof):
        raise ValueError(f"holds {len(stored)} bytes of data, expected {expected}; copy or export the file again")
    return stored


def write_metaimage(path: Path, image: Image) -> None:
    """A real image, compressed."""
    to_file = image.direction.T[::-1, ::-1].ravel()  # axis after axis, each (L, P, S)
    stored = zlib.compress(image.data.detach().cpu().numpy().astype("<f4").tobytes(), level=1)
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(stored)),
        "TransformMatrix": _text(to_file),
        "Offset": _text(image.origin[::-1]),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _text(image.voxel_size[::-1]),
        "DimSize": " ".join(str(n) for n in reversed(image.data.shape)),
        "ElementType": "MET_FLOAT",
        "ElementDataFile": "LOCAL",
    }
    lines = "".join(f"{key} = {value}\n" for key, value in header.items())
    path.write_bytes(lines.encode("ascii") + stored)


def _numbers(header: dict[str, str], keys: Sequence[str], count: int, default: ArrayLike = ()) -> NDArray[np.float64]:
    """The `count` numbers under the first of `keys` that is there, else `default`."""
    key = next((key for key in keys if key in header), None)
    if key is None:
        return np.asarray(default, dtype=np.float64)
    try:
        values = np.array([float(word) for word in header[key].split()])
    except ValueError:
        values = np.array([])
    if len(values) != count:
        raise ValueError(f"{key} is {header[key]!r}, expected {count} numbers; correct the header")
    return values


def _flag(header: dict[str, str], key: str, default: str = "False") -> bool:
    return header.get(key, default).lower() in ("true", "t", "1", "yes")


def _text(values: ArrayLike) -> str:
    return " ".join(repr(float(value)) for value in np.asarray(values))
