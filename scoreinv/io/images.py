"""Images as NIfTI (`.nii`, `.nii.gz`), MetaImage (`.mha`), STIR's Interfile (`.hv` beside `.v`); CT of DICOM to read.

Files store axes in any order and direction. A reader permutes and flips them, without interpolation, to the order used
everywhere in this package: (z, y, x) pointing as closely as possible to the patient's Superior, Posterior and Left. The
rotation that remains in an oblique acquisition and the position of the first voxel are kept in `Image`, so that a
reconstruction can be written back onto the patient; operators do not see them: `Image.volume` is centred at 0, because
scanners are described about their own isocentre.

World coordinates are in mm in the order (Superior, Posterior, Left): MetaImage's (L, P, S) reversed, NIfTI's (R, A, S)
reversed with two signs changed, STIR's as `_interfile_image` has them. Orientation is NIfTI's sform where its code is
set, else its qform.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.io._interfile_image import read_interfile_image, write_interfile_image
from scoreinv.io._metaimage import read_metaimage, write_metaimage
from scoreinv.io.atomic import atomic_path, check_exists, check_suffix
from scoreinv.operators.geometry import Volume

SUFFIXES = (".nii", ".nii.gz", ".mha", ".hv")
# Reverses (x, y, z) into (z, y, x); the signs turn NIfTI's Right, Anterior into Left, Posterior.
_REVERSE = np.eye(3)[::-1]
_RAS_TO_SPL = _REVERSE @ np.diag([-1.0, -1.0, 1.0])
# Cosine of the angle between two axes that still counts as rectangular: headers are rounded to about 1e-6.
_SHEAR = 1e-3
_READERS = {".mha": read_metaimage, ".hv": read_interfile_image}
_UNITS = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}


@dataclass(frozen=True, eq=False)
class Image:
    """An image and its place in the patient.

    Args:
        data: (z, y, x), float32 or complex64, finite; (y, x) is taken as one slice.
        voxel_size: edge lengths (z, y, x), mm.
        origin: world position (S, P, L) of the middle of voxel (0, 0, 0), mm.
        direction: (3, 3) rotation; column k is the unit vector in world (S, P, L) along array axis k.

    Raises:
        TypeError: for another dtype.
        ValueError: for another rank, NaN or Inf, voxel sizes that are not positive, or axes that are not orthogonal.
    """

    data: Tensor
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        data = self.data.unsqueeze(0) if self.data.ndim == 2 else self.data
        if data.ndim != 3 or data.numel() == 0:
            raise ValueError(f"Image: data has shape {tuple(data.shape)}, expected (z, y, x) or (y, x)")
        if data.dtype not in (torch.float32, torch.complex64):
            raise TypeError(f"Image: data is {data.dtype}, expected float32 or complex64; convert with .to")
        _check_finite(data, "Image: data")
        depth, height, width = data.shape
        grid = Volume((depth, height, width), self.voxel_size, self.origin)  # checks sizes and origin
        direction = np.array(self.direction, dtype=np.float64)
        if direction.shape != (3, 3) or not np.allclose(direction.T @ direction, np.eye(3), atol=_SHEAR):
            raise ValueError(
                f"Image: direction is {direction.round(4).tolist()}, expected orthogonal unit columns; "
                "resample a sheared image onto rectangular voxels first"
            )
        direction.flags.writeable = False
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "voxel_size", grid.voxel_size)
        object.__setattr__(self, "origin", grid.center)
        object.__setattr__(self, "direction", direction)

    @property
    def volume(self) -> Volume:
        """The grid as operators take it: same shape and voxel size, centred at 0."""
        depth, height, width = self.data.shape
        return Volume((depth, height, width), self.voxel_size)


def read_image(path: str | Path) -> Image:
    """Read `.nii`, `.nii.gz`, `.mha` or `.hv`, with its intensity scaling applied and its axes turned to (z, y, x).

    Real data become float32, complex NIfTI data complex64. Trailing axes of length 1 are dropped; a 2D file becomes
    one slice. A folder is read as a CT series of DICOM (`read_dicom`).

    Raises:
        FileNotFoundError: if there is no such file, or only the header of two.
        ValueError: for another suffix, a damaged file, more than three axes, several channels, NaN or Inf, or an
            affine that is singular or sheared.
    """
    if Path(path).is_dir():
        from scoreinv.io.dicom import read_dicom

        return read_dicom(path)
    path = check_exists(path, SUFFIXES, "an image")
    read = _READERS.get(path.suffix.lower(), _read_nifti)
    try:
        array, matrix, origin = read(path)
        return upright(_three_axes(array).transpose(2, 1, 0), matrix, origin)
    except ValueError as error:
        raise ValueError(f"{path}: {_one_line(error)}") from error


def write_image(
    path: str | Path,
    image: Image | Tensor,
    grid: Image | Volume | None = None,
    voxel_size: tuple[float, float, float] | None = None,
) -> None:
    """Write `.nii`, `.nii.gz`, `.mha` (zlib) or `.hv` with `.v`, whole or not at all; existing files are replaced.

    Files are float32. A complex image becomes two, which every viewer shows: its magnitude under `path`, and its phase
    in rad, within [-pi, pi], beside it as `<name>_phase<suffix>`; STIR's `.hv` is for real images alone.

    Args:
        path: its suffix chooses the format.
        image: an `Image`, or a tensor (z, y, x) or (y, x), which needs one of `grid` and `voxel_size`.
        grid: the image a tensor was made from, or the volume of its operator.
        voxel_size: edge lengths (z, y, x), mm, of a tensor whose place is unknown: it is centred at 0.

    Raises:
        FileNotFoundError: if the folder does not exist.
        TypeError: for another dtype than float32 and complex64, or a complex image as `.hv`.
        ValueError: for another suffix, NaN or Inf, a shape that is not the grid's, a place given twice or never, or a
            rotated image as `.hv`.
    """
    path = check_suffix(path, SUFFIXES, "an image")
    placed = _placed(image, grid, voxel_size)
    if path.suffix.lower() == ".hv":
        write_interfile_image(path, placed)
        return
    write = write_metaimage if path.name.lower().endswith(".mha") else _write_nifti
    if not placed.data.is_complex():
        with atomic_path(path) as temporary:
            write(temporary, placed)
        return
    with atomic_path(path) as magnitude, atomic_path(phase_path(path)) as phase:
        write(magnitude, replace(placed, data=placed.data.abs()))
        write(phase, replace(placed, data=placed.data.angle()))


def read_complex_image(path: str | Path) -> Image:
    """Read the magnitude at `path` and the phase beside it, as `write_image` writes them, as complex64.

    Raises:
        FileNotFoundError: unless both files are there.
        ValueError: as `read_image`, or if the two are not on one grid.
    """
    magnitude, phase = read_image(path), read_image(phase_path(path))
    parts = [(tuple(part.data.shape), part.data.dtype) for part in (magnitude, phase)]
    if parts[0] != parts[1] or magnitude.data.is_complex():
        raise ValueError(
            f"{path}: magnitude and phase are {parts}, expected two real images of one grid; write it again"
        )
    return replace(magnitude, data=torch.polar(magnitude.data, phase.data))


def phase_path(path: str | Path) -> Path:
    """Where the phase of a complex image written to `path` lies: `mean.nii.gz` has `mean_phase.nii.gz`."""
    path = check_suffix(path, SUFFIXES, "an image")
    suffix = next(s for s in reversed(SUFFIXES) if path.name.lower().endswith(s))
    return path.with_name(f"{path.name[: -len(suffix)]}_phase{path.name[-len(suffix) :]}")


def _placed(image: Image | Tensor, grid: Image | Volume | None, voxel_size: tuple[float, float, float] | None) -> Image:
    given = sum(place is not None for place in (grid, voxel_size))
    if given != (0 if isinstance(image, Image) else 1):
        raise ValueError(
            f"write_image: got {type(image).__name__} with {given} of grid and voxel_size; pass one of them with a "
            "tensor, none with an Image"
        )
    if isinstance(image, Image):
        return image
    if isinstance(grid, Image):
        placed, shape = Image(image, grid.voxel_size, grid.origin, grid.direction), tuple(grid.data.shape)
    else:
        volume = grid or Image(image, voxel_size or (1.0, 1.0, 1.0)).volume
        z, y, x = volume.first_voxel.tolist()
        placed, shape = Image(image, volume.voxel_size, (z, y, x)), volume.shape
    if tuple(placed.data.shape) != shape:
        raise ValueError(
            f"write_image: image has shape {tuple(image.shape)}, its grid {shape}; pass the grid it was made on"
        )
    return placed


def upright(array: NDArray[Any], matrix: NDArray[np.float64], origin: NDArray[np.float64]) -> Image:
    """Permute and flip the axes to the order closest to (S, P, L).

    Args:
        array: (k, j, i), as stored.
        matrix: (3, 3), column a is the step in world (S, P, L) along stored axis a, mm.
        origin: (3,) world position of voxel (0, 0, 0), mm.
    """
    sizes = np.linalg.norm(matrix, axis=0)
    unit = matrix / np.where(sizes > 0, sizes, 1.0)
    if not (np.isfinite(matrix).all() and np.isfinite(origin).all()) or abs(np.linalg.det(unit)) < 1e-6:
        raise ValueError(
            f"affine {np.c_[matrix, origin].round(4).tolist()} cannot be inverted, expected three independent finite "
            "axes; correct the header"
        )
    order = max(permutations(range(3)), key=lambda p: sum(abs(unit[k, p[k]]) for k in range(3)))
    array, matrix, unit = array.transpose(order), matrix[:, order], unit[:, order]
    flipped = np.diag(unit) < 0
    origin = origin + matrix[:, flipped] @ (np.array(array.shape)[flipped] - 1)
    array = np.flip(array, tuple(np.flatnonzero(flipped).tolist()))
    dtype = np.complex64 if np.iscomplexobj(array) else np.float32
    with np.errstate(over="ignore"):  # what does not fit becomes Inf, which Image refuses
        data = torch.from_numpy(np.array(array, dtype=dtype, order="C"))
    z, y, x = origin.tolist()
    size_z, size_y, size_x = sizes[list(order)].tolist()
    return Image(data, (size_z, size_y, size_x), (z, y, x), unit * np.where(flipped, -1.0, 1.0))


def _read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        content = path.read_bytes()
        # Whole, because a gzip checksum is compared only at the end of the stream.
        content = gzip.decompress(content) if path.name.lower().endswith(".gz") else content
        version_2 = nib.Nifti2Header.may_contain_header(content[:540])
        image = (nib.Nifti2Image if version_2 else nib.Nifti1Image).from_bytes(content)
        array = np.asanyarray(image.dataobj)  # scl_slope and scl_inter applied
        unit = _UNITS[image.header.get_xyzt_units()[0]]
    except PermissionError:
        raise
    except (
        ImageFileError,
        HeaderDataError,
        WrapStructError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        zlib.error,
    ) as error:
        raise ValueError(f"damaged or not NIfTI ({_one_line(error)}); copy or export the file again") from error
    if array.dtype.kind not in "biufc":
        raise ValueError(f"voxels are {array.dtype}, expected one number each; convert colours to grey values")
    return (
        array,
        unit * _RAS_TO_SPL @ image.affine[:3, :3] @ _REVERSE,
        unit * _RAS_TO_SPL @ image.affine[:3, 3],
    )


def _write_nifti(path: Path, image: Image) -> None:
    import nibabel as nib

    affine = np.eye(4)
    affine[:3, :3] = _RAS_TO_SPL.T @ (image.direction * image.voxel_size) @ _REVERSE
    affine[:3, 3] = _RAS_TO_SPL.T @ image.origin
    nifti = nib.Nifti1Image(_numpy(image.data).transpose(2, 1, 0), affine)
    nifti.header.set_xyzt_units("mm")
    # Both forms, because readers disagree on which one they trust.
    nifti.set_sform(affine, code="scanner")
    nifti.set_qform(affine, code="scanner")
    nib.save(nifti, path)


def _three_axes(array: NDArray[Any]) -> NDArray[Any]:
    """An array (x, y, z) of one stored as (x, y), (x, y, z) or (x, y, z, 1, ...)."""
    if any(n != 1 for n in array.shape[3:]):
        raise ValueError(f"has axes {array.shape}, expected one volume (x, y, z); split the series into single volumes")
    return array.reshape((*array.shape, 1, 1)[:3])


def _check_finite(data: Tensor, what: str) -> None:
    bad = int((~torch.isfinite(data)).sum())
    if bad:
        raise ValueError(f"{what} holds NaN or Inf in {bad} of {data.numel()} voxels; replace them first")


def _numpy(data: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = data.detach().cpu().numpy()
    return array


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
