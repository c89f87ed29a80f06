"""PET sinograms as STIR writes them: an Interfile header (`.hs`) beside the numbers (`.s`).

Interfile 3.3 with STIR's additions: a segment after the other in the order the header gives, each by plane and view or
by view and plane, the tangential position fastest. STIR places crystals evenly on a circle, or in flat blocks on one
(`BlocksOnCylindrical`), of which those of one block a side are read, without gaps between blocks. A patient
lies head first and on the back unless the header says otherwise; then z of the package's axes points against that of
STIR, and rings, counted along STIR's, descend. The middle of the scanner is at 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.io._interfile_header import InterfileHeader
from scoreinv.io.atomic import atomic_pair, check_exists, check_suffix
from scoreinv.operators.lines import LinesOfResponse
from scoreinv.operators.scanner import PETScanner, Sinogram

_GEOMETRY = "scanner geometry (blocksoncylindrical/cylindrical/generic)"
_SPARSEST = 2.0  # times what the crystals of a ring cover
_AXIAL, _TRANSAXIAL = "axial direction", "transaxial direction"


@dataclass(frozen=True, eq=False)
class InterfileSinogram:
    """What a STIR sinogram holds.

    Args:
        data: (radial, views, planes) float32, in the order of `sinogram`.
        scanner, sinogram: where its lines run, for `PET` and `LinesOfResponse`.
    """

    data: Tensor
    scanner: PETScanner
    sinogram: Sinogram


def read_interfile_sinogram(path: str | Path) -> InterfileSinogram:
    """Read a sinogram of STIR without time of flight, its scaling factor applied.

    Args:
        path: the header, `.hs`; the numbers lie where it says.

    Raises:
        FileNotFoundError: without header or numbers.
        ValueError: if the header lacks a key, contradicts itself or the size of the numbers, or describes what is not
            read: time of flight, arc correction, data corrected for attenuation, open rings, several frames, mashed
            views, even spans, blocks with gaps, patients who do not lie head first and on the back.
    """
    path = check_exists(path, (".hs",), "an Interfile header of STIR")
    try:
        return _read(InterfileHeader(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_interfile_sinogram(path: str | Path, data: Tensor, scanner: PETScanner, sinogram: Sinogram) -> None:
    """Write a sinogram without time of flight for STIR, both files or neither; existing ones are replaced.

    Scanners with one crystal a side are STIR's `Cylindrical`, all others `BlocksOnCylindrical`; its view offset counts
    from the first crystal on top, the rotation of `PETScanner` from the first side.

    Args:
        path: the header, `.hs`; the numbers go beside it, into `.s`.
        data: (radial, views, planes) float32.
        scanner: whose rings descend, evenly about 0.
        sinogram: how the data are sorted.

    Raises:
        FileNotFoundError: if the folder does not exist.
        TypeError: if the data are not float32.
        ValueError: for another suffix, data of another shape, such as with time of flight, or other rings.
    """
    path = check_suffix(path, (".hs",), "an Interfile header of STIR")
    shape = LinesOfResponse(scanner, sinogram).shape
    if data.dtype != torch.float32:
        raise TypeError(f"{path}: data are {data.dtype}, expected torch.float32; convert with .float()")
    if tuple(data.shape) != shape:
        raise ValueError(
            f"{path}: data have shape {tuple(data.shape)}, expected (radial, views, planes) = {shape} as sorted by the "
            "sinogram; sum over bins of time of flight"
        )
    segments = _segments(scanner, sinogram)
    header = "".join(f"{key} := {value}\n" for key, value in _header(path, shape, scanner, segments))
    stored = data.detach().cpu().numpy()
    with atomic_pair(path, path.with_suffix(".s")) as (text, numbers):
        with numbers.open("wb") as file:
            for _, planes in segments:
                stored[..., planes].transpose(1, 2, 0).astype("<f4").tofile(file)
        text.write_text(header)


def _read(header: InterfileHeader) -> InterfileSinogram:
    if header.count("number of dimensions") != 4:
        raise ValueError(f"'number of dimensions' is {header.get('number of dimensions')}, expected 4, without TOF")
    header.expect("type of data", "pet")
    header.expect("pet data type", "emission")
    header.expect("number of time frames", "1")
    header.expect("patient orientation", "head_in", "unknown")
    header.expect("patient rotation", "supine", "unknown")
    applied = header.get("applied corrections").lower()  # without the key STIR takes them for corrected
    if "arc" in applied or "attenuation" in applied:
        raise ValueError(f"'applied corrections' is {applied!r}, expected neither arc correction nor attenuation")
    scanner = _scanner(header)
    axes = {header.get(f"matrix axis label [{n}]").lower(): n for n in range(1, 5)}
    order = [name for name, _ in sorted(axes.items(), key=lambda item: -item[1])]
    by_view = order == ["segment", "view", "axial coordinate", "tangential coordinate"]
    if not by_view and order != ["segment", "axial coordinate", "view", "tangential coordinate"]:
        raise ValueError(
            f"axes from slowest to fastest are {order}, expected segment, axial coordinate and view or view and axial "
            "coordinate, tangential coordinate"
        )
    views, bins = (header.count(f"matrix size [{axes[name]}]") for name in ("view", "tangential coordinate"))
    counts = header.integers(f"matrix size [{axes['axial coordinate']}]")
    number = header.count(f"matrix size [{axes['segment']}]")
    if number != len(counts):
        raise ValueError(f"{number} segments, but planes of {len(counts)}: {counts}; expected as many of both")
    if views != scanner.crystals // 2:
        raise ValueError(
            f"{views} views, expected {scanner.crystals // 2} with {scanner.crystals} crystals a ring; mashed views "
            "are not read"
        )
    sinogram, segments = _sorting(header, scanner, counts, bins)
    factors = header.factors()
    if len(factors) != 1:
        raise ValueError(f"has {len(factors)} image scaling factors, expected one")
    values = header.numbers(views * bins * sum(counts))
    data = torch.empty(bins, views, sum(counts))
    start = 0
    for planes in segments:
        block = values[start : start + len(planes) * views * bins]
        start += len(block)
        shape = (views, len(planes), bins) if by_view else (len(planes), views, bins)
        axial_last = (2, 0, 1) if by_view else (2, 1, 0)
        data[..., planes] = torch.from_numpy(block.reshape(shape).transpose(axial_last).astype(np.float32) * factors)
    return InterfileSinogram(data, scanner, sinogram)


def _scanner(header: InterfileHeader) -> PETScanner:
    rings, crystals = (header.count(f"number of {what}") for what in ("rings", "detectors per ring"))
    depth = header.number("average depth of interaction (cm)")
    radius = 10 * (header.length("inner ring diameter (cm)") / 2 + depth)
    pitch = 10 * header.length("distance between rings (cm)")
    turned = header.number("view offset (degrees)") if "view offset (degrees)" in header.values else 0.0
    geometry = header.values.get(_GEOMETRY, "Cylindrical")
    if geometry.lower() == "cylindrical":
        per_side, size = 1, 2 * radius * math.tan(math.pi / crystals)
    elif geometry.lower() == "blocksoncylindrical":
        per_side = header.count(f"number of crystals per block in {_TRANSAXIAL}")
        size = 10 * header.length(f"distance between crystals in {_TRANSAXIAL} (cm)")
        for key, wanted in (
            (f"number of blocks per bucket in {_TRANSAXIAL}", 1),
            (f"distance between blocks in {_TRANSAXIAL} (cm)", per_side * size / 10),
            (f"number of crystals per block in {_AXIAL}", rings),
            (f"distance between crystals in {_AXIAL} (cm)", pitch / 10),
        ):
            if abs(header.number(key) - wanted) > 1e-5 * wanted:
                raise ValueError(f"'{key}' is {header.get(key)}, expected {wanted:g}; only sides of one block are read")
    else:
        raise ValueError(f"scanner geometry is {geometry!r}, expected Cylindrical or BlocksOnCylindrical")
    around = math.pi * radius / crystals / (size / 2)
    if around > _SPARSEST:
        raise ValueError(
            f"{crystals} crystals of {size:g} mm leave {1 - 1 / around:.0%} of a ring of radius {radius:g} mm open, "
            "expected a closed one; lengths of the header are in cm"
        )
    if crystals % per_side:
        raise ValueError(f"{crystals} detectors per ring do not fill blocks of {per_side}, expected a multiple")
    positions = ((rings - 1) / 2 - np.arange(rings)) * pitch
    rotation = math.radians(turned - _first_side_on_top(crystals, per_side))
    return PETScanner(radius, crystals // per_side, per_side, size, tuple(positions.tolist()), rotation)


def _sorting(
    header: InterfileHeader, scanner: PETScanner, counts: list[int], bins: int
) -> tuple[Sinogram, list[NDArray[np.int64]]]:
    """How lines were sorted, and the numbers of the planes of each segment in the file."""
    low, high = (header.integers(f"{which} ring difference per segment") for which in ("minimum", "maximum"))
    central = [last for first, last in zip(low, high, strict=False) if first == -last]
    if not len(low) == len(high) == len(counts) or len(central) != 1:
        raise ValueError(
            f"segments have {counts} planes and ring differences from {low} to {high}, expected as many of each, and "
            "one segment that reaches as far below 0 as above; even spans are not read"
        )
    sinogram = Sinogram(bins, max(high), 2 * central[0] + 1)
    known = dict(_segments(scanner, sinogram))
    segments = [known.get(ends, np.empty(0, np.int64)) for ends in zip(low, high, strict=True)]
    if [len(planes) for planes in segments] != counts or sum(counts) != sum(map(len, known.values())):
        wanted = {ends: len(planes) for ends, planes in known.items()}
        raise ValueError(
            f"segments have {counts} planes and ring differences from {low} to {high}, expected of {scanner.rings} "
            f"rings {list(wanted.values())} and {list(wanted)}"
        )
    return sinogram, segments


def _segments(scanner: PETScanner, sinogram: Sinogram) -> list[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Least and greatest difference of rings, and numbers of the planes, of every segment from the lowest on."""
    differences = [[second - first for first, second in plane] for plane in sinogram.planes(scanner)]
    segment = np.asarray([round(plane[0] / sinogram.span) for plane in differences])
    result = []
    for number in range(segment.min(), segment.max() + 1):
        planes = np.flatnonzero(segment == number)
        own = [difference for plane in planes for difference in differences[plane]]
        result.append(((min(own), max(own)), planes))
    return result


def _header(
    path: Path,
    shape: tuple[int, int, int],
    scanner: PETScanner,
    segments: list[tuple[tuple[int, int], NDArray[np.int64]]],
) -> list[tuple[str, object]]:
    """Keys and values, in an order in which STIR can read them."""
    bins, views, _ = shape
    per_side, rings = scanner.crystals_per_side, scanner.rings
    pitch = (
        (scanner.ring_positions[0] - scanner.ring_positions[-1]) / (rings - 1) if rings > 1 else scanner.crystal_size
    )
    wanted = ((rings - 1) / 2 - np.arange(rings)) * pitch
    if pitch <= 0 or not np.allclose(scanner.ring_positions, wanted, rtol=0, atol=1e-3):
        raise ValueError(
            f"{path}: rings lie at {scanner.ring_positions[0]:g} to {scanner.ring_positions[-1]:g} mm, expected them "
            "to descend, evenly about 0, as STIR counts them from the patient's head: turn ring_positions about and "
            "sort the data anew"
        )
    return [
        ("!INTERFILE", ""),
        ("!imaging modality", "PT"),
        ("name of data file", path.with_suffix(".s").name),
        ("!version of keys", "STIR6.0"),
        ("!GENERAL DATA", ""),
        ("!GENERAL IMAGE DATA", ""),
        ("!type of data", "PET"),
        ("patient orientation", "head_in"),
        ("patient rotation", "supine"),
        ("imagedata byte order", "LITTLEENDIAN"),
        ("!PET STUDY (General)", ""),
        ("!PET data type", "Emission"),
        ("applied corrections", "{None}"),
        ("!number format", "float"),
        ("!number of bytes per pixel", 4),
        ("number of dimensions", 4),
        ("matrix axis label [4]", "segment"),
        ("!matrix size [4]", len(segments)),
        ("matrix axis label [3]", "view"),
        ("!matrix size [3]", views),
        ("matrix axis label [2]", "axial coordinate"),
        ("!matrix size [2]", _list(len(planes) for _, planes in segments)),
        ("matrix axis label [1]", "tangential coordinate"),
        ("!matrix size [1]", bins),
        ("minimum ring difference per segment", _list(low for (low, _), _ in segments)),
        ("maximum ring difference per segment", _list(high for (_, high), _ in segments)),
        ("Scanner parameters", ""),
        ("Scanner type", "unknown"),
        ("Number of rings", rings),
        ("Number of detectors per ring", scanner.crystals),
        ("Inner ring diameter (cm)", 2 * scanner.radius / 10),
        ("Average depth of interaction (cm)", 0),  # the radius holds it
        ("Distance between rings (cm)", pitch / 10),
        ("Default bin size (cm)", scanner.crystal_size / 20),
        ("View offset (degrees)", math.degrees(scanner.rotation) + _first_side_on_top(scanner.crystals, per_side)),
        ("Maximum number of non-arc-corrected bins", bins),
        ("Default number of arc-corrected bins", bins),
        (f"Number of blocks per bucket in {_TRANSAXIAL}", 1),
        (f"Number of blocks per bucket in {_AXIAL}", 1),
        (f"Number of crystals per block in {_AXIAL}", rings),
        (f"Number of crystals per block in {_TRANSAXIAL}", per_side),
        ("Number of detector layers", 1),
        (f"Number of crystals per singles unit in {_AXIAL}", rings),
        (f"Number of crystals per singles unit in {_TRANSAXIAL}", per_side),
        (_GEOMETRY, "Cylindrical" if per_side == 1 else "BlocksOnCylindrical"),
        (f"Distance between crystals in {_AXIAL} (cm)", pitch / 10),
        (f"Distance between crystals in {_TRANSAXIAL} (cm)", scanner.crystal_size / 10),
        (f"Distance between blocks in {_AXIAL} (cm)", rings * pitch / 10),
        (f"Distance between blocks in {_TRANSAXIAL} (cm)", per_side * scanner.crystal_size / 10),
        ("End scanner parameters", ""),
        ("number of time frames", 1),
        ("!END OF INTERFILE", ""),
    ]


def _list(numbers: Iterable[int]) -> str:
    return "{ " + ",".join(map(str, numbers)) + "}"


def _first_side_on_top(crystals: int, per_side: int) -> float:
    """Degrees by which STIR has to turn a scanner whose first crystal is on top until the middle of its side is."""
    return -180 * (per_side - 1) / crystals
