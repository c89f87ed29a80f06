"""One subject for supervised training: what a scanner measured, and the attenuation that was to be found.

On disk a pair is an HDF5 file of projections as `scoreinv.io.write_projections` makes it, so that it can also be
reconstructed (`scoreinv run --set input.projections=...`), with one dataset more:

    /image      (z, y, x) int16, HU
        voxel_size   (z, y, x) mm
        center       (z, y, x) mm
        subject      text: who it is; the same for all series of one person
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoreinv.io import Projections, atomic_path, read_projections, write_projections
from scoreinv.metrics import to_attenuation, to_hu
from scoreinv.operators import ConeBeamGeometry, Volume


@dataclass(frozen=True, eq=False)
class Pair:
    """A volume and its scan.

    Attributes:
        attenuation: (z, y, x), 1/mm.
        grid: of the attenuation, in the scanner's frame.
        geometry: of the candidate views, in their order along the arc.
        projections: (views, v, u), line integrals.
        subject: who it is.
    """

    attenuation: Tensor
    grid: Volume
    geometry: ConeBeamGeometry
    projections: Tensor
    subject: str

    def views(self, indices: np.ndarray) -> tuple[ConeBeamGeometry, Tensor]:
        """Geometry and projections of some of the candidate views, in the order asked for."""
        geometry = self.geometry
        chosen = ConeBeamGeometry(
            geometry.sources[indices],
            geometry.detector_centers[indices],
            geometry.v_steps[indices],
            geometry.u_steps[indices],
            geometry.detector_shape,
        )
        return chosen, self.projections[torch.from_numpy(indices)]


def write_pair(path: Path, pair: Pair) -> None:
    """Write `path` (.h5), whole or not at all; the image is rounded to 1 HU."""
    import h5py

    with atomic_path(path) as temporary:
        write_projections(temporary, Projections(pair.projections, pair.geometry), compression=0)
        with h5py.File(temporary, "a") as file:
            hu = to_hu(pair.attenuation).round().clamp(-32768, 32767).to(torch.int16)
            image = file.create_dataset("image", data=hu.numpy(), compression="gzip", compression_opts=1, shuffle=True)
            image.attrs["voxel_size"] = pair.grid.voxel_size
            image.attrs["center"] = pair.grid.center
            image.attrs["subject"] = pair.subject


def read_pair(path: Path) -> Pair:
    """Read what `write_pair` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, has no image, or is no cone-beam scan.
    """
    import h5py

    projections = read_projections(path)
    if not isinstance(projections.geometry, ConeBeamGeometry) or projections.kind != "line_integrals":
        raise ValueError(f"{path}: expected line integrals of a cone-beam scan; prepare it again")
    with h5py.File(path) as file:
        if "image" not in file:
            raise ValueError(f"{path}: lacks /image, the volume to learn from; expected one of write_pair")
        image = file["image"]
        hu = torch.from_numpy(image[()]).float()
        z, y, x = image.shape
        voxel_size, center = (tuple(map(float, image.attrs[name])) for name in ("voxel_size", "center"))
        subject = str(image.attrs["subject"])
    grid = Volume((z, y, x), (voxel_size[0], voxel_size[1], voxel_size[2]), (center[0], center[1], center[2]))
    return Pair(to_attenuation(hu), grid, projections.geometry, projections.data, subject)
