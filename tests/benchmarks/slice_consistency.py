"""What neighbouring slices are worth: volumes under a prior of slices, coupled and seen along other axes.

    python tests/benchmarks/slice_consistency.py --volume scan_3mm.nii.gz --out table.md

Three geometries (24 cone-beam views, 60 parallel views over 0 to 120 degrees, 24 parallel views), 48 x 96 x 96 voxels,
20 network evaluations each, noise of 1e5 photons. PSNR is the mean over the slices of one orientation, range 2000 HU.
Two samplers: "samples", the default of `solve`, and "mean", which the demo takes to come near the posterior's mean.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoreinv import load_prior, solve
from scoreinv.io import read_image
from scoreinv.metrics import to_attenuation
from scoreinv.operators import (
    ConeBeamCT,
    ConeBeamGeometry,
    Gaussian,
    LinearOperator,
    ParallelBeamCT,
    ParallelBeamGeometry,
    TransmissionPoisson,
    Volume,
)
from scoreinv.phantoms import body
from scoreinv.priors import PerpendicularPlanes
from scoreinv.samplers import DDIM, TVz, schedules
from scoreinv.samplers.guidance import DDS

SHAPE, VOXEL = (48, 96, 96), 3.0
PHOTONS = 1e5
SAMPLERS = {
    "samples": (DDIM(1.0), schedules.edm(20, 5.0, 0.01)),
    "mean": (DDIM(1.0, "dds"), schedules.edm(20, 1.0, 0.01)),
}


def geometries() -> dict[str, LinearOperator]:
    """The three scans."""
    volume = Volume(SHAPE, (VOXEL,) * 3)
    turn = 2 * math.pi * np.arange(24) / 24
    parallel = ((64, 144), (VOXEL, VOXEL))
    cone = ConeBeamGeometry.circular(800, 1200, (88, 144), (4.5, 4.5), turn)
    limited = ParallelBeamGeometry.circular(*parallel, np.deg2rad(np.linspace(0, 120, 60)))
    sparse = ParallelBeamGeometry.circular(*parallel, turn / 2)
    return {
        "cone beam, 24 views": ConeBeamCT(cone, volume),
        "limited angle, 0 to 120 degrees": ParallelBeamCT(limited, volume),
        "parallel beam, 24 views": ParallelBeamCT(sparse, volume),
    }


def cuts(x: Tensor, truth: Tensor) -> list[float]:
    """Mean PSNR over axial, coronal and sagittal slices, dB."""
    squared = ((x - truth).double() / 0.02) ** 2  # in units of 1000 HU
    per_slice = [squared.movedim(axis, 0).flatten(1).mean(1) for axis in range(3)]
    return [float((10 * torch.log10(4 / errors)).mean()) for errors in per_slice]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volume", type=Path, help="CT in HU of 3 mm, in place of a phantom")
    parser.add_argument("--sampler", choices=SAMPLERS, default="samples")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    hu = body(2028, SHAPE, (VOXEL,) * 3) if arguments.volume is None else middle(read_image(arguments.volume).data)
    truth = to_attenuation(hu.clamp(min=-1000)).float()
    stepper, sigmas = SAMPLERS[arguments.sampler]
    prior = load_prior("ct-128")
    planes = PerpendicularPlanes(prior, (0, 1), every=2, voxel_size=(VOXEL,) * 3)
    variants = {
        "slice by slice": (prior, None),
        "TVz 0.1": (prior, TVz(0.1)),
        "TVz 0.3": (prior, TVz(0.3)),
        "TVz 0.6": (prior, TVz(0.6)),
        "perpendicular planes": (planes, None),
        "planes and TVz 0.1": (planes, TVz(0.1)),
        "planes and TVz 0.3": (planes, TVz(0.3)),
    }
    lines = ["| scan | prior | axial | coronal | sagittal | s |", "|---|---|---|---|---|---|"]
    for scan, operator in geometries().items():
        counts = TransmissionPoisson(PHOTONS).simulate(operator(truth), torch.Generator().manual_seed(0)).clamp(min=1)
        for name, (lifted, coupling) in variants.items():
            begun = time.perf_counter()
            result = solve(
                operator,
                -torch.log(counts / PHOTONS),
                lifted,
                likelihood=Gaussian(counts.rsqrt()),
                guidance=DDS(15),
                stepper=stepper,
                schedule=sigmas,
                coupling=coupling,
                progress=False,
            )
            numbers = " | ".join(f"{value:.2f}" for value in cuts(result.mean, truth))
            lines.append(f"| {scan} | {name} | {numbers} | {time.perf_counter() - begun:.0f} |")
            print(lines[-1], flush=True)
            if arguments.out:
                arguments.out.write_text("\n".join(lines) + "\n")


def middle(hu: Tensor) -> Tensor:
    """The middle of a volume, SHAPE, air where it does not reach."""
    out = torch.full(SHAPE, -1000.0)
    kept = [min(n, m) for n, m in zip(hu.shape, SHAPE, strict=True)]
    inner, outer = (
        tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(shape, kept, strict=True))
        for shape in (hu.shape, SHAPE)
    )
    out[outer] = hu[inner].float()
    return out


if __name__ == "__main__":
    main()
