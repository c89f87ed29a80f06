"""STIR's images: an Interfile header (`.hv`) beside the numbers (`.v`), x fastest.

STIR's axes are those of the scanner, seen from the bed: x to the right, y downwards, z out of it towards the bed. The
patient who lies head first and on the back has Left along x and Posterior along y, and z runs from head to feet; this
is taken where the header leaves the position open, as STIR does.

World coordinates are those of the scanner, its middle at 0, as are those of the lines of STIR's sinograms. In x and y
`first pixel offset` counts from its axis, and without it voxel n // 2 lies there. Along z STIR's projectors put the
middle plane of an image into the middle of the scanner, `first pixel offset [3]` further on. (What STIR itself exports
to other formats has the first plane there instead.)

Numbers are multiplied by `image scaling factor` or `quantification units`; `calibration factor`, which STIR carries
along without applying it, is left alone here as well.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scoreinv.io._interfile_header import InterfileHeader
from scoreinv.io.atomic import atomic_pair

if TYPE_CHECKING:
    from scoreinv.io.images import Image

# Signs of STIR's (z, y, x) along the patient's (Superior, Posterior, Left).
_SIGNS = {
    ("head_in", "supine"): (-1.0, 1.0, 1.0),
    ("head_in", "prone"): (-1.0, -1.0, -1.0),
    ("feet_in", "supine"): (1.0, 1.0, -1.0),
    ("feet_in", "prone"): (1.0, -1.0, 1.0),
}


def read_interfile_image(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """The array (x, y, z), (3, 3) steps in world (S, P, L) along its axes reversed, (3,) place of its first voxel."""
    header = InterfileHeader(path)
    header.expect("type of data", "pet")
    header.expect("pet data type", "image")
    header.expect("number of time frames", "1")
    header.expect("number of image data types", "1")
    if header.count("number of dimensions") != 3:
        raise ValueError(f"'number of dimensions' is {header.get('number of dimensions')}, expected 3")
    for axis, name in enumerate("xyz", start=1):
        header.expect(f"matrix axis label [{axis}]", name)
    shape = tuple(header.count(f"matrix size [{axis}]") for axis in (3, 2, 1))
    sizes = np.asarray([header.length(f"scaling factor (mm/pixel) [{axis}]") for axis in (3, 2, 1)])
    factors = header.factors()
    if len(factors) not in (1, shape[0]):
        raise ValueError(f"has {len(factors)} image scaling factors, expected 1 or one of each of {shape[0]} planes")
    array = header.numbers(math.prod(shape)).reshape(shape).astype(np.float32) * factors[:, None, None]

    first = np.asarray([0.0, -(shape[1] // 2) * sizes[1], -(shape[2] // 2) * sizes[2]])
    if any(key.startswith("first pixel offset") for key in header.values):
        first = np.asarray([header.number(f"first pixel offset (mm) [{axis}]") for axis in (3, 2, 1)])
    first[0] -= (shape[0] - 1) / 2 * sizes[0]
    signs = _signs(header)
    return array.T, np.diag(signs * sizes), signs * first


def write_interfile_image(path: Path, image: Image) -> None:
    """A real image whose axes are the patient's, both files or neither; `.v` lies beside."""
    if image.data.is_complex():
        raise TypeError(f"{path}: image is complex, expected a real one in a file of STIR; write .nii.gz or its .abs()")
    if not np.allclose(image.direction, np.eye(3), atol=1e-6):
        raise ValueError(
            f"{path}: direction is {image.direction.round(4).tolist()}, expected axes along the patient's, as all "
            "files of STIR have; write .nii.gz or resample the image"
        )
    voxels = image.data.detach().cpu().numpy()[::-1]
    depth, height, width = voxels.shape
    size_z, size_y, size_x = image.voxel_size
    superior, posterior, left = image.origin
    values = path.with_suffix(".v")
    with atomic_pair(path, values) as (header, numbers):
        voxels.astype("<f4").tofile(numbers)
        header.write_text(
            "!INTERFILE :=\n"
            "!imaging modality := PT\n"
            "!version of keys := STIR6.0\n"
            f"name of data file := {values.name}\n"
            "!GENERAL DATA :=\n"
            "patient orientation := head_in\n"
            "patient rotation := supine\n"
            "!GENERAL IMAGE DATA :=\n"
            "!type of data := PET\n"
            "imagedata byte order := LITTLEENDIAN\n"
            "!PET STUDY (General) :=\n"
            "!PET data type := Image\n"
            "process status := Reconstructed\n"
            "!number format := float\n"
            "!number of bytes per pixel := 4\n"
            "number of dimensions := 3\n"
            "matrix axis label [1] := x\n"
            f"!matrix size [1] := {width}\n"
            f"scaling factor (mm/pixel) [1] := {size_x!r}\n"
            "matrix axis label [2] := y\n"
            f"!matrix size [2] := {height}\n"
            f"scaling factor (mm/pixel) [2] := {size_y!r}\n"
            "matrix axis label [3] := z\n"
            f"!matrix size [3] := {depth}\n"
            f"scaling factor (mm/pixel) [3] := {size_z!r}\n"
            f"first pixel offset (mm) [1] := {left!r}\n"
            f"first pixel offset (mm) [2] := {posterior!r}\n"
            f"first pixel offset (mm) [3] := {-(superior + (depth - 1) / 2 * size_z)!r}\n"
            "number of time frames := 1\n"
            "!END OF INTERFILE :=\n"
        )


def _signs(header: InterfileHeader) -> NDArray[np.float64]:
    position = tuple(header.values.get(f"patient {what}", "unknown").lower() for what in ("orientation", "rotation"))
    if "unknown" in position:
        position = ("head_in", "supine")
    if position not in _SIGNS:
        raise ValueError(f"patient lies {' and '.join(position)}, expected head_in or feet_in and supine or prone")
    return np.asarray(_SIGNS[position])
