"""ISMRMRD (MRD) raw data in HDF5.

Inati et al., "ISMRM Raw Data format: a proposed standard for MRI raw datasets", Magn. Reson. Med. 77 (2017) 411-421.

What the format leaves open is taken as follows. Images are inverse Fourier transforms of k-space, exp(+i k r), and
voxel n // 2 lies at `position`, in patient coordinates (L, P, S). A readout flagged as reverse is turned round first,
and `center_sample` counts in the turned order. `discard_pre` and `discard_post` count in the stored order.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreinv.io._mrd_header import Encoding, read_encodings
from scoreinv.io._mrd_readouts import Readout, check_coils, kinds, read, read_heads
from scoreinv.io._mrd_trajectory import rad_per_voxel
from scoreinv.io.hdf5 import open_hdf5
from scoreinv.io.kspace import KSpace, remove_oversampling

SUFFIXES = (".h5", ".hdf5", ".mrd", ".ismrmrd")
COUNTERS = ("slice", "contrast", "phase", "repetition", "set")
_ON_GRID = ("cartesian", "epi")

logger = logging.getLogger(__name__)


def read_ismrmrd(
    path: str | Path,
    *,
    encoding: int | None = None,
    trajectory_unit: str | None = None,
    dataset: str | None = None,
    **select: int,
) -> list[KSpace]:
    """The images of an ISMRMRD file, sorted by slice, contrast, cardiac phase, repetition and set.

    Noise scans are kept apart, scaled to the bandwidth of the data where dwell times are given; lines for calibration
    are kept apart unless they are imaging lines too. Navigators, phase correction and other scans that are no part of
    the image are dropped.

    Cartesian (and EPI, without correction of ghosts): lines are placed by their counters about the centre that the
    header gives, samples about `center_sample`; points measured more than once are averaged. Oversampling along the
    readout is removed if every readout is complete; oversampling along the phases stays, because that FOV cannot be cut
    before unfolding, and goes in `KSpace.crop`. A recon matrix finer than the encoded one is not interpolated to.
    Non-Cartesian: every sample is kept, a shot a readout; the image has the recon FOV at the encoded resolution. In a
    file of planes with trajectories (kx, ky), encode step 2 is kz. A third coordinate of a 2D scan is ignored: it is 0,
    or a density weight.

    Args:
        path: `.h5`, `.hdf5`, `.mrd` or `.ismrmrd`.
        encoding: number of the encoding space, needed where images are of several.
        trajectory_unit: of stored trajectories: "1/voxel" (edge 0.5), "rad/voxel", "1/fov" (of the recon space),
            "1/encoded_fov", "1/mm" or "1/m". None finds it by how far the trajectory reaches.
        dataset: name of the group, needed where the file has several.
        select: slice, contrast, phase, repetition or set to read; all of those left out.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: for something else to select by.
        ValueError: for a damaged or other file; without readouts of an image, or of the one selected; for images of
            several encodings, NaN, unequal coils, a line outside the encoded matrix, a non-Cartesian file without
            trajectory, shots of unequal length, or a trajectory whose unit is not clear.
    """
    unknown = set(select) - set(COUNTERS)
    if unknown:
        raise TypeError(f"read_ismrmrd: cannot select by {', '.join(sorted(unknown))}, only by {', '.join(COUNTERS)}")
    with open_hdf5(path, SUFFIXES) as file:
        group = _group(file, dataset)
        encodings = read_encodings(group["xml"][0])
        heads = read_heads(group["data"])
        kind = kinds(heads)
        images = _selected(heads, kind["image"], select)
        space = _encoding_of(heads[images], encodings, encoding)
        images = images[heads["encoding_space_ref"][images] == space.number]
        if space.kind not in _ON_GRID:
            _check_trajectories(heads, images, space)
        elif space.kind == "epi":
            logger.warning("%s: lines of an EPI are taken as they are, without correction of N/2 ghosts", path)
        noise = _noise(group["data"], heads, kind["noise"], images)
        result = _images(group["data"], heads, images, kind["calibration"], space, noise, trajectory_unit)
    _report_missing(path, heads[images])
    return result


def _group(file: Any, name: str | None) -> Any:
    found = [key for key, item in file.items() if hasattr(item, "keys") and "data" in item and "xml" in item]
    if name is None and len(found) == 1:
        name = found[0]
    if name not in found:
        raise ValueError(
            f"has {'no ISMRMRD dataset' if not found else 'the ISMRMRD datasets ' + ', '.join(found)}, expected "
            + ("a group with /data and /xml; is it raw data?" if not found else "one; pass dataset=")
        )
    return file[name]


def _selected(heads: NDArray[Any], image: NDArray[np.bool_], select: dict[str, int]) -> NDArray[np.intp]:
    """Numbers of the readouts of images; each counter has to hold its value somewhere."""
    if not image.any():
        raise ValueError("has no imaging readouts, only noise, calibration or corrections; is the scan complete?")
    for name, value in select.items():
        here = image & (heads["idx"][name] == value)
        if not here.any():
            present = sorted({int(n) for n in heads["idx"][name][image]})
            raise ValueError(f"has no lines of {name} {value}, expected one of {present}; pass one of them")
        image = here
    return np.flatnonzero(image)


def _encoding_of(heads: NDArray[Any], encodings: list[Encoding], number: int | None) -> Encoding:
    present = sorted({int(n) for n in heads["encoding_space_ref"]})
    if number is None and len(present) > 1:
        raise ValueError(f"has images of the encodings {present}, expected one; pass encoding={present[0]} or another")
    number = present[0] if number is None else number
    if number not in present or number >= len(encodings):
        raise ValueError(
            f"encoding {number} has no readouts or no header, expected one of {present} of {len(encodings)} in the "
            "header; pass another encoding or correct the file"
        )
    return encodings[number]


def _check_trajectories(heads: NDArray[Any], images: NDArray[np.intp], space: Encoding) -> None:
    bare = images[heads["trajectory_dimensions"][images] < 2]
    if len(bare):
        raise ValueError(
            f"is {space.kind} and has no trajectory (kx, ky) in acquisition {bare[0]} and {len(bare) - 1} more; "
            "have the converter store trajectories"
        )


def _noise(data: Any, heads: NDArray[Any], noise: NDArray[np.bool_], images: NDArray[np.intp]) -> Tensor | None:
    """Noise (coils, samples) as strong as in the images: its power goes as the bandwidth, 1 / dwell time."""
    scans = read(data, heads, np.flatnonzero(noise))
    if not scans:
        return None
    dwell = float(heads["sample_time_us"][images[0]])
    parts = []
    for scan in scans:
        own = float(scan.head["sample_time_us"])
        parts.append(scan.data * np.float32(np.sqrt(own / dwell) if own > 0 and dwell > 0 else 1.0))
    check_coils(scans, int(heads["active_channels"][images[0]]))
    return torch.from_numpy(np.ascontiguousarray(np.concatenate(parts, axis=1)))


def _images(
    data: Any,
    heads: NDArray[Any],
    images: NDArray[np.intp],
    calibration: NDArray[np.bool_],
    space: Encoding,
    noise: Tensor | None,
    unit: str | None,
) -> list[KSpace]:
    counters = np.stack([heads["idx"][name] for name in COUNTERS], axis=1)
    groups, members = np.unique(counters[images], axis=0, return_inverse=True)
    readouts = read(data, heads, images)
    check_coils(readouts, int(heads["active_channels"][images[0]]))
    result = []
    on_grid = space.kind in _ON_GRID
    sides = [] if on_grid else _coordinates(readouts, space, unit)
    complete = all(r.data.shape[1] == space.matrix[2] for r in readouts)
    for group, index in enumerate(groups):
        chosen = np.flatnonzero(members.ravel() == group)
        mine = [readouts[k] for k in chosen]
        place = _place(mine[0].head, space) | {
            "noise": noise,
            "index": dict(zip(COUNTERS, (int(n) for n in index), strict=True)),
        }
        if not on_grid:
            result.append(_shots(mine, [sides[k] for k in chosen], space, place))
            continue
        lines = _calibration(counters, calibration & (heads["encoding_space_ref"] == space.number), index)
        result.append(_grid(mine, read(data, heads, lines), space, complete, place))
    return result


def _calibration(counters: NDArray[Any], calibration: NDArray[np.bool_], index: NDArray[np.uint16]) -> NDArray[np.intp]:
    """Calibration readouts of this image, or of its slice where it was calibrated once for all."""
    own = calibration & (counters == index).all(axis=1)
    of_slice = calibration & (counters[:, 0] == index[0])
    return np.flatnonzero(own if own.any() else of_slice)


def _grid(
    readouts: list[Readout], calibration: list[Readout], space: Encoding, complete: bool, place: dict[str, Any]
) -> KSpace:
    data, mask = _gridded(readouts, space)
    lines = _gridded(calibration, space)[0] if calibration else None
    shown = space.shown
    if complete:
        data = remove_oversampling(data, shown[2])
        lines = None if lines is None else remove_oversampling(lines, shown[2])
        mask = mask[..., : shown[2]]
    if space.ndim == 2:
        data, mask = data.squeeze(1), mask.squeeze(0)
        lines = None if lines is None else lines.squeeze(1)
    return KSpace(data, mask, recon_shape=shown[3 - space.ndim :], calibration=lines, **place)


def _gridded(readouts: list[Readout], space: Encoding) -> tuple[Tensor, Tensor]:
    """k-space (coils, z, y, x), the mean of what was measured at a point, and where that is, (z, y, x)."""
    total = np.zeros((len(readouts[0].data), *space.matrix), np.complex64)
    count = np.zeros(space.matrix, np.int32)
    for readout in readouts:
        z, y, x, line = _located(readout, space)
        total[:, z, y, x : x + line.shape[1]] += line
        count[z, y, x : x + line.shape[1]] += 1
    total /= np.maximum(count, 1)
    return torch.from_numpy(total), torch.from_numpy(count > 0)


def _located(readout: Readout, space: Encoding) -> tuple[int, int, int, NDArray[np.complex64]]:
    """Where a readout lies in the encoded matrix: indices (z, y), first x, and its samples towards larger x."""
    head, line = readout.head, readout.data
    before = int(head["discard_pre"])
    if readout.reverse:
        line, before = line[:, ::-1], int(head["discard_post"])
    depth, height, width = space.matrix
    z = int(head["idx"]["kspace_encode_step_2"]) - space.centers[0] + depth // 2
    y = int(head["idx"]["kspace_encode_step_1"]) - space.centers[1] + height // 2
    x = before - int(head["center_sample"]) + width // 2
    if not (0 <= z < depth and 0 <= y < height and 0 <= x <= width - line.shape[1]):
        raise ValueError(
            f"acquisition {readout.number} lies at z {z}, y {y}, x {x} to {x + line.shape[1] - 1}, outside the encoded "
            f"matrix (z, y, x) = {space.matrix}; correct encodedSpace, encodingLimits or center_sample"
        )
    return z, y, x, line


def _coordinates(readouts: list[Readout], space: Encoding, unit: str | None) -> list[NDArray[np.float32]]:
    """Of every readout (samples, d), rad per voxel in (y, x) or (z, y, x) order."""
    lengths = {r.data.shape[1] for r in readouts}
    if len(lengths) > 1:
        raise ValueError(f"has shots of {sorted(lengths)} samples, expected one length; select images with one length")
    stored = np.stack([r.trajectory[:, : space.ndim] for r in readouts])
    k = rad_per_voxel(stored, space, unit)
    if k.shape[-1] < space.ndim:
        steps = np.array([int(r.head["idx"]["kspace_encode_step_2"]) for r in readouts]) - space.centers[0]
        if np.abs(steps).max() > space.matrix[0] // 2:
            raise ValueError(
                f"has planes {steps.min()} to {steps.max()}, expected {space.matrix[0]}; correct the header"
            )
        kz = np.broadcast_to((2 * np.pi * steps / space.matrix[0])[:, None, None], (*k.shape[:2], 1))
        k = np.concatenate([kz.astype(np.float32).clip(-np.float32(np.pi), np.float32(np.pi)), k], axis=-1)
    return list(k)


def _shots(
    readouts: list[Readout], coordinates: list[NDArray[np.float32]], space: Encoding, place: dict[str, Any]
) -> KSpace:
    data = torch.from_numpy(np.stack([r.data for r in readouts], axis=1))
    trajectory = torch.from_numpy(np.stack(coordinates))
    return KSpace(data, trajectory=trajectory, image_shape=space.shown[3 - space.ndim :], **place)


def _place(head: Any, space: Encoding) -> dict[str, Any]:
    """Voxel size, and place if the header knows directions; its vectors (L, P, S) reversed to (S, P, L)."""
    axes = np.stack([head[f"{name}_dir"][::-1].astype(np.float64) for name in ("slice", "phase", "read")], axis=1)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        return {"voxel_size": space.voxel_size}
    center = tuple(float(x) for x in head["position"][::-1])
    return {"voxel_size": space.voxel_size, "center": center, "direction": axes / np.linalg.norm(axes, axis=0)}


def _report_missing(path: str | Path, heads: NDArray[Any]) -> None:
    """A scan broken off leaves the last image with less than the others; undersampling leaves all alike."""
    counters = np.stack([heads["idx"][name] for name in COUNTERS], axis=1)
    groups, lines = np.unique(counters, axis=0, return_counts=True)
    for index, count in zip(groups, lines, strict=True):
        if count < 0.5 * lines.max():
            name = ", ".join(f"{counter} {n}" for counter, n in zip(COUNTERS, index, strict=True))
            logger.warning(
                "%s: %s has %d readouts, others up to %d; was the scan broken off?", path, name, count, lines.max()
            )
