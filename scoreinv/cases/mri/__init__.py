"""MR scans: simulated of a volume or a phantom, or read from files of k-space."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scoreinv.baselines import zero_filled
from scoreinv.cases.case import Case
from scoreinv.cases.mri.acquisition import Acquisition
from scoreinv.cases.mri.calibration import coil_maps
from scoreinv.cases.mri.simulation import simulated
from scoreinv.config.mri import Input, MRISettings
from scoreinv.io import Image, KSpace, place_slices
from scoreinv.metrics import magnitudes
from scoreinv.operators import CartesianMRI, Gaussian, LinearOperator, NonCartesianMRI, Stack, k_space_noise

log = logging.getLogger("scoreinv")


def load(settings: MRISettings) -> Case:
    """Read or simulate what is to be reconstructed."""
    source, coils = settings.input, settings.coils
    scans = measured(source) if source.k_space is not None else simulated(settings)
    scans = [scan.whitened().compressed(coils.compress) for scan in scans]
    hidden: list[KSpace] = []
    if source.hold_out:
        # Before anything is estimated: neither coil maps nor noise know these samples.
        rng = np.random.default_rng(np.random.SeedSequence(settings.scan.seed, spawn_key=(1,)))
        pairs = [scan.held_out(source.hold_out, coils.calibration, rng) for scan in scans]
        scans, hidden = [scan for scan, _ in pairs], [k for _, k in pairs]
    k_spaces = [scan.k_space for scan in scans]
    maps = [
        scan.maps if coils.maps == "true" and scan.maps is not None else coil_maps(scan.k_space, coils)
        for scan in scans
    ]
    operator, data = _stacked(k_spaces, maps)
    truths = [scan.truth for scan in scans if scan.truth is not None]
    truth = (truths[0] if len(truths) == 1 else torch.stack(truths)) if truths else None

    def placed(image: Tensor) -> Image:
        return _placed(k_spaces, image.cpu())

    return Case(
        operator,
        data,
        _noise(scans, operator, data),
        truth,
        placed,
        magnitudes(zero_filled(operator, data) if truth is None else truth),
        _stacked(hidden, maps) if hidden else None,
    )


def measured(source: Input) -> list[Acquisition]:
    """The images of a file of k-space."""
    from scoreinv.io import read_kspace

    assert source.k_space is not None
    found = read_kspace(source.k_space)
    if source.slices:
        found = [k for k in found if k.index.get("slice", 0) in source.slices]
        if not found:
            raise ValueError(f"input.slices: {source.k_space} holds none of the slices {list(source.slices)}")
    if any(k.voxel_size is None for k in found):
        log.warning("%s: the voxel size is unknown; NIfTI files say 1 mm", source.k_space)
    return [Acquisition(k) for k in found]


def _stacked(k_spaces: Sequence[KSpace], maps: Sequence[Tensor]) -> tuple[LinearOperator, Tensor]:
    """One operator of all images, and their data."""
    operators = [_operator(k, m) for k, m in zip(k_spaces, maps, strict=True)]
    if len(operators) == 1:
        return operators[0], k_spaces[0].data
    stack = Stack(operators)
    if len(stack.out_shape) > 1:
        return stack, torch.stack([k.data for k in k_spaces])
    return stack, torch.cat([k.data.flatten() for k in k_spaces])


def _operator(k: KSpace, maps: Tensor) -> CartesianMRI | NonCartesianMRI:
    if k.mask is not None:
        return CartesianMRI(k.mask, maps)
    assert k.trajectory is not None
    return NonCartesianMRI(k.trajectory, k.image_shape, maps)


def _noise(scans: Sequence[Acquisition], operator: LinearOperator, data: Tensor) -> Gaussian:
    """What the scans know, or else the data themselves tell."""
    frames = operator.operators if isinstance(operator, Stack) else (operator,)
    sigmas = []
    for scan, frame in zip(scans, frames, strict=True):
        if scan.sigma is None:
            sigmas.append(k_space_noise(frame, scan.k_space.data))
            log.info("no noise scan; what the coils contradict each other by is taken for noise: %.4g", sigmas[-1])
        else:
            sigmas.append(scan.sigma)
    if len(sigmas) == 1:
        return Gaussian(sigmas[0])
    if data.ndim > 1:
        return Gaussian(torch.tensor(sigmas).reshape(-1, *[1] * (data.ndim - 1)))
    sizes = torch.tensor([scan.k_space.data.numel() for scan in scans])
    return Gaussian(torch.tensor(sigmas).repeat_interleave(sizes))


def _placed(k_spaces: Sequence[KSpace], image: Tensor) -> Image:
    if k_spaces[0].voxel_size is None:
        k_spaces = [replace(k, voxel_size=(1.0, 1.0, 1.0)) for k in k_spaces]
    if len(k_spaces) == 1:
        return k_spaces[0].place(image)
    return place_slices(k_spaces, image)
