"""Lesions put into procedural patients, to ask whether a reconstruction shows or invents them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from scoreinv.config.sampling import Lesion

MARGIN = 4.0  # mm of tissue about a lesion
EDGE = 1.0  # mm, beyond which the mean of that tissue is the level of its surroundings
FAINT = 0.3  # of the median of what gives signal, so much is tissue


def with_lesion(
    image: Tensor, voxel_size: Sequence[float], lesion: Lesion | None, tissue: Tensor | None = None
) -> Tensor:
    """The image with the lesion that was asked for; as it is without one, or if it should be absent.

    Args:
        image: (z, y, x) of the patient, real.
        voxel_size: mm.
        lesion: what is asked for.
        tissue: (z, y, x) bool, where it may lie, and its contrast is in the unit of the image. None takes what gives
            signal, and its contrast is a share of the signal around it.

    Raises:
        ValueError: if there is no place for it, or no voxel about it.
    """
    if lesion is None or not lesion.present:
        return image
    relative = tissue is None
    if tissue is None:
        tissue = image > FAINT * image[image > 0.05 * image.max()].median()
    distance = _distance(image.shape, voxel_size, _place(tissue, voxel_size, lesion))
    share = torch.from_numpy(((lesion.radius - distance) / min(voxel_size[1:]) + 0.5).clip(0, 1)).to(image.dtype)
    shell = torch.from_numpy((distance > lesion.radius + EDGE) & (distance <= lesion.radius + MARGIN))
    if relative and not bool(shell.any()):
        raise ValueError(
            f"lesion.radius: {lesion.radius:g} mm, no voxel of {list(voxel_size)} mm lies about it; expected more, or "
            "a phantom of smaller voxels"
        )
    added = lesion.contrast * (float(image[shell].mean()) if relative else 1.0)
    return image + added * share


def _place(tissue: Tensor, voxel_size: Sequence[float], lesion: Lesion) -> NDArray[np.float64]:
    """(z, y, x) mm from the middle of voxel (0, 0, 0), with tissue all around."""
    deep = np.zeros(tissue.shape)
    if len(tissue) == 1:  # a slice of a patient that goes on beyond it
        deep[0] = distance_transform_edt(tissue[0].numpy(), voxel_size[1:])
    else:
        deep = distance_transform_edt(tissue.numpy(), voxel_size)
    places = np.argwhere(deep > lesion.radius + MARGIN)
    if len(places) == 0:
        raise ValueError(
            f"lesion.radius: {lesion.radius:g} mm, expected at most {float(deep.max()) - MARGIN:.3g} mm, to lie "
            "within tissue of this patient"
        )
    place: NDArray[np.float64] = places[np.random.default_rng(lesion.seed).integers(len(places))] * np.array(voxel_size)
    return place


def _distance(shape: Sequence[int], voxel_size: Sequence[float], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    squares = [(axis * size - c) ** 2 for axis, size, c in zip(axes, voxel_size, centre, strict=True)]
    distance: NDArray[np.float64] = np.sqrt(sum(squares[1:], squares[0]))
    return distance
