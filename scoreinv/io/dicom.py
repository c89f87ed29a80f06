"""CT series of DICOM: a folder with one file a slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoreinv.io.images import Image, upright

Array = NDArray[np.float64]
Slices = list[tuple[Path, Any]]  # files and their headers

# Parts of the distance between slices by which positions may be off: scanners round them to 0.001 mm or so.
_UNEVEN = 0.02
_SAME_DIRECTION = 1e-3  # of cosines


def read_dicom(folder: str | Path) -> Image:
    """Read the one CT series of a folder, in HU, with its axes turned to (z, y, x).

    Slices are put in order by their positions, whatever their files are called; other files are passed over.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no series or more than one, another modality than CT, slices twice or too few of them,
            slices that differ in orientation, spacing or size, or pixels that cannot be read.
    """
    folder = Path(folder)
    headers = _series(folder)
    first = headers[0][1]
    try:
        if first.Modality != "CT":
            raise ValueError(f"is a series of modality {first.Modality}, expected CT; give a folder of CT slices")
        rows, columns, places = _places(headers)
        order = np.argsort(places @ np.cross(columns, rows))
        headers, places = [headers[k] for k in order], places[order]
        between = _between(headers, places, np.cross(columns, rows))
        array = np.stack([_hounsfield(path) for path, _ in headers])
        down, across = (float(size) for size in first.PixelSpacing)
    except AttributeError as error:
        raise ValueError(f"{folder}: {error}; export the series again with all its attributes") from error
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    # DICOM's world is (L, P, S); reversed it is this package's.
    steps = np.stack([between, down * rows, across * columns], -1)[::-1]
    return upright(array, steps, places[0][::-1])


def patient_id(folder: str | Path) -> str:
    """Who the series of a folder is of, as the hospital calls them; "" if the files do not say. Raises ValueError."""
    return str(_series(Path(folder))[0][1].get("PatientID", "") or "")


def holds_dicom(folder: Path) -> bool:
    """Whether a file of the folder itself is DICOM."""
    from pydicom.misc import is_dicom

    return any(is_dicom(path) for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _series(folder: Path) -> Slices:
    """Files and headers of the slices of the only series."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, expected one of DICOM slices; check the path")
    headers = []
    for path in _files(folder):
        try:
            header = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        if "Rows" in header:  # not a directory of files, a report or contours
            headers.append((path, header))
    if not headers:
        raise ValueError(f"{folder}: holds no DICOM image, expected the slices of a CT series")
    names = {str(header.SeriesInstanceUID): str(header.get("SeriesDescription", "")) for _, header in headers}
    if len(names) > 1:
        told = " and ".join(f"{uid} ({name or 'no description'})" for uid, name in sorted(names.items()))
        raise ValueError(f"{folder}: holds {len(names)} series, {told}, expected one; put each in a folder of its own")
    return headers


def _places(headers: Slices) -> tuple[Array, Array, Array]:
    """Directions down the rows and across the columns, and (slices, 3) positions of the first pixels, (L, P, S) mm."""
    first_path, first = headers[0]
    turned = np.array(first.ImageOrientationPatient, dtype=np.float64)
    for path, header in headers:
        if np.abs(np.array(header.ImageOrientationPatient, dtype=np.float64) - turned).max() > _SAME_DIRECTION:
            raise ValueError(
                f"slices {first_path.name} and {path.name} have different orientations, expected one for all; put the "
                "scout or the other stack in a folder of its own"
            )
        for name in ("Rows", "Columns", "PixelSpacing"):
            if header[name].value != first[name].value:
                raise ValueError(
                    f"slices {first_path.name} and {path.name} have {name} {first[name].value} and "
                    f"{header[name].value}, expected the same for all; put each stack in a folder of its own"
                )
    places = np.array([header.ImagePositionPatient for _, header in headers], dtype=np.float64)
    return turned[3:], turned[:3], places


def _between(headers: Slices, places: Array, normal: Array) -> Array:
    """The way from one slice to the next, (L, P, S) mm, of slices in order."""
    if len(headers) == 1:
        return normal * float(headers[0][1].SliceThickness)
    gaps = np.diff(places @ normal)
    usual = float(np.median(gaps))
    names = [path.name for path, _ in headers]
    for k in np.flatnonzero(gaps <= _UNEVEN * usual):
        raise ValueError(
            f"slices {names[k]} and {names[k + 1]} lie in the same place, expected one a place; remove either"
        )
    for k in np.flatnonzero(np.abs(gaps - usual) > _UNEVEN * usual):
        raise ValueError(
            f"slices {names[k]} and {names[k + 1]} are {gaps[k]:.4g} mm apart, the others {usual:.4g} mm, expected "
            "even distances; copy the missing slices"
        )
    step: Array = (places[-1] - places[0]) / (len(places) - 1)
    return step


def _hounsfield(path: Path) -> NDArray[np.float32]:
    """(rows, columns) of one slice."""
    from pydicom import dcmread

    slice_ = dcmread(path)
    try:
        pixels = slice_.pixel_array
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise ValueError(
            f"{path.name}: pixels cannot be read ({' '.join(str(error).split())}); decompress the series, with "
            "gdcmconv --raw for one"
        ) from error
    if pixels.ndim != 2:
        raise ValueError(f"{path.name}: has pixels {pixels.shape}, expected one grey slice (rows, columns) a file")
    values: NDArray[np.float32] = np.float32(slice_.RescaleSlope) * pixels + np.float32(slice_.RescaleIntercept)
    return values.astype(np.float32)
