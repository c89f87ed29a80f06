"""Simulated MR scans of the slices of a volume or a phantom."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.cases.case import lying_on
from scoreinv.cases.lesion import with_lesion
from scoreinv.cases.mri.acquisition import Acquisition
from scoreinv.config.mri import Input, MRISettings, Phantom, Scan
from scoreinv.io import Image, KSpace
from scoreinv.operators import CartesianMRI, Gaussian, NonCartesianMRI, Volume, sampling, simulated_coils, trajectories
from scoreinv.phase import smooth_phase

SPIRAL_TURNS = 6.0
PERCENTILE = 99.5
LEAST_NOISE = 1e-4  # that a likelihood can go with: noise that is told of data without any


def simulated(settings: MRISettings) -> list[Acquisition]:
    """A scan of every slice."""
    source, scan = settings.input, settings.scan
    volume = _volume(source)
    chosen = source.slices or tuple(range(len(volume.data)))
    if max(chosen) >= len(volume.data):
        raise ValueError(
            f"input.slices: {max(chosen)} of a volume of {len(volume.data)}; expected 0 or more, below that"
        )
    images = []
    for z in chosen:
        rng = np.random.default_rng(np.random.SeedSequence(scan.seed, spawn_key=(0, z)))
        magnitude = volume.data[z].abs()
        truth = torch.polar(magnitude, smooth_phase(rng, *magnitude.shape))
        images.append(_scanned(truth, scan, _place(volume, z), int(rng.integers(2**31))))
    return images


def _volume(source: Input) -> Image:
    if source.volume is not None:
        from scoreinv.io import read_image

        return read_image(source.volume)
    return lying_on(Volume(source.phantom.shape, source.phantom.voxel_size))(_phantom(source.phantom))


def _phantom(settings: Phantom) -> Tensor:
    """The procedural head, (z, y, x), magnitudes."""
    from scoreinv.head import contrast, head

    image = contrast(head(settings.seed, settings.shape, settings.voxel_size), settings.weighting, settings.seed)
    return with_lesion(image, settings.voxel_size, settings.lesion)


def _place(volume: Image, z: int) -> dict[str, Any]:
    """Where a slice lies, as `KSpace` says it."""
    middle = np.array([z, volume.data.shape[1] // 2, volume.data.shape[2] // 2]) * volume.voxel_size
    return {
        "voxel_size": volume.voxel_size,
        "center": tuple((np.array(volume.origin) + volume.direction @ middle).tolist()),
        "direction": volume.direction,
        "index": {"slice": z},
    }


def _scanned(truth: Tensor, scan: Scan, place: dict[str, Any], seed: int) -> Acquisition:
    """A noisy scan of one slice (y, x)."""
    shape = tuple(truth.shape)
    maps = simulated_coils(scan.coils, shape)
    bright = float(np.percentile(truth.abs().numpy(), PERCENTILE))
    noise = scan.noise * bright
    if scan.sampling in ("radial", "spiral"):
        points = _trajectory(scan, shape)
        data = _measured(NonCartesianMRI(points, shape, maps), truth, noise, seed)
        # Sparse spirals know too little of the middle of k-space; a scan of its own calibrates the coils.
        known = None
        if scan.sampling == "spiral":
            known = _measured(CartesianMRI(_middle(shape, scan.calibration), maps), truth, noise, seed + 1)
        k_space = KSpace(data, trajectory=points, image_shape=shape, calibration=known, **place)
    else:
        mask = _mask(scan, shape, seed)
        k_space = KSpace(_measured(CartesianMRI(mask, maps), truth, noise, seed), mask=mask, **place)
    return Acquisition(k_space, max(noise, LEAST_NOISE * bright), maps, truth)


def _measured(operator: CartesianMRI | NonCartesianMRI, truth: Tensor, noise: float, seed: int) -> Tensor:
    expected = operator.forward(truth)
    if noise:
        expected = Gaussian(noise).simulate(expected, torch.Generator().manual_seed(seed))
    return expected * operator.mask if isinstance(operator, CartesianMRI) else expected


def _middle(shape: tuple[int, ...], side: int) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice((n - side) // 2, (n + side) // 2) for n in shape)] = True
    return mask


def _trajectory(scan: Scan, shape: tuple[int, ...]) -> Tensor:
    n = max(shape)
    if scan.sampling == "radial":
        return trajectories.radial(max(1, round(n / scan.acceleration)), 2 * n)
    full = n / (2 * SPIRAL_TURNS)  # interleaves, of pi n^2 / 4 samples together
    samples = round(np.pi * n**2 / (4 * full))
    return trajectories.spiral(max(1, round(full / scan.acceleration)), samples, SPIRAL_TURNS)


def _mask(scan: Scan, shape: tuple[int, ...], seed: int) -> Tensor:
    if scan.sampling == "equispaced":
        return sampling.equispaced(shape, scan.acceleration, scan.calibration)
    make = {"poisson_disc": sampling.poisson_disc, "random_lines": sampling.random_lines}[scan.sampling]
    return make(shape, scan.acceleration, scan.calibration, seed)
