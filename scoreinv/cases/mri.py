"""MR scans: simulated of a volume or a phantom, or read from files of k-space."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.baselines import zero_filled
from scoreinv.cases.case import Case
from scoreinv.config.mri import Coils, Input, MRISettings, Phantom, Scan
from scoreinv.io import Image, KSpace, place_slices
from scoreinv.metrics import magnitudes
from scoreinv.operators import (
    CartesianMRI,
    Gaussian,
    LinearOperator,
    NonCartesianMRI,
    Stack,
    coil_compression,
    espirit,
    pipe_menon,
    prewhiten,
    sampling,
    simulated_coils,
    trajectories,
    walsh,
)
from scoreinv.phase import smooth_phase

log = logging.getLogger("scoreinv")
SPIRAL_TURNS = 6.0
PERCENTILE = 99.5


@dataclass(frozen=True)
class Measured:
    """One image's data and the coil maps to reconstruct it with.

    Attributes:
        k_space: of the coils that are used.
        sigma: of its noise, per real component.
        maps: (coils, *image).
        truth: (*image) complex, where it is known.
    """

    k_space: KSpace
    sigma: float
    maps: Tensor
    truth: Tensor | None = None

    @property
    def operator(self) -> CartesianMRI | NonCartesianMRI:
        return _operator(self.k_space, self.maps)


def load(settings: MRISettings) -> Case:
    """Read or simulate what is to be reconstructed."""
    source = settings.input
    images = _measured(settings) if source.k_space is not None else _simulated(settings)
    rng = np.random.default_rng(np.random.SeedSequence(settings.scan.seed, spawn_key=(1,)))
    pairs = [_held_out(image, source.hold_out, rng) for image in images] if source.hold_out else []
    kept = [image for image, _ in pairs] if pairs else images
    operator, data, likelihood = _stacked(kept)
    truth = None if images[0].truth is None else _joined([image.truth for image in images if image.truth is not None])
    hidden = _stacked([image for _, image in pairs])[:2] if pairs else None
    shown = zero_filled(operator, data) if truth is None else truth

    def placed(image: Tensor) -> Image:
        return _placed([one.k_space for one in images], image)

    return Case(operator, data, likelihood, truth, placed, magnitudes(shown), hidden)


def _simulated(settings: MRISettings) -> list[Measured]:
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
        images.append(_scanned(truth, volume, z, scan, settings.coils, rng))
    return images


def _volume(source: Input) -> Image:
    if source.volume is not None:
        from scoreinv.io import read_image

        return read_image(source.volume)
    return Image(phantom(source.phantom), source.phantom.voxel_size)


def phantom(settings: Phantom) -> Tensor:
    """The procedural head, (z, y, x), magnitudes."""
    from scoreinv.head import contrast, head

    return contrast(head(settings.seed, settings.shape, settings.voxel_size), settings.weighting, settings.seed)


def _scanned(truth: Tensor, volume: Image, z: int, scan: Scan, coils: Coils, rng: np.random.Generator) -> Measured:
    """A noisy scan of one slice (y, x)."""
    shape = tuple(truth.shape)
    true_maps = simulated_coils(scan.coils, shape)
    middle = np.array([z, shape[0] // 2, shape[1] // 2]) * volume.voxel_size
    place: dict[str, Any] = {
        "voxel_size": volume.voxel_size,
        "center": tuple((np.array(volume.origin) + volume.direction @ middle).tolist()),
        "direction": volume.direction,
        "index": {"slice": z},
    }
    seed = int(rng.integers(2**31))
    bright = float(np.percentile(truth.abs().numpy(), PERCENTILE))
    sigma = max(scan.noise, 1e-4) * bright
    if scan.sampling in ("radial", "spiral"):
        points = _trajectory(scan, shape)
        operator: LinearOperator = NonCartesianMRI(points, shape, true_maps)
    else:
        operator = CartesianMRI(_mask(scan, shape, seed), true_maps)
    expected = operator.forward(truth)
    data = expected
    if scan.noise:
        data = Gaussian(sigma).simulate(expected, torch.Generator().manual_seed(seed))
    if isinstance(operator, CartesianMRI):
        data = data * operator.mask
        k_space = KSpace(data, mask=operator.mask.bool(), **place)
    else:
        # Sparse spirals know too little of the middle of k-space; a scan of its own calibrates the coils.
        known = None if scan.sampling == "radial" else _calibration_scan(truth, true_maps, scan, sigma, seed + 1)
        k_space = KSpace(data, trajectory=points, image_shape=shape, calibration=known, **place)
    if coils.maps == "true":
        return Measured(k_space, sigma, true_maps, truth)
    return Measured(*_calibrated(k_space, sigma, coils), truth)


def _calibration_scan(truth: Tensor, maps: Tensor, scan: Scan, sigma: float, seed: int) -> Tensor:
    """The middle of Cartesian k-space, (coils, y, x)."""
    mask = torch.zeros(truth.shape, dtype=torch.bool)
    mask[tuple(slice((n - scan.calibration) // 2, (n + scan.calibration) // 2) for n in truth.shape)] = True
    expected = CartesianMRI(mask, maps).forward(truth)
    return Gaussian(sigma).simulate(expected, torch.Generator().manual_seed(seed)) * mask


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


def _measured(settings: MRISettings) -> list[Measured]:
    from scoreinv.io import read_kspace

    source = settings.input
    assert source.k_space is not None
    found = read_kspace(source.k_space)
    if source.slices:
        found = [k for k in found if k.index.get("slice", 0) in source.slices]
        if not found:
            raise ValueError(f"input.slices: {source.k_space} holds none of the slices {list(source.slices)}")
    images = []
    for k in found:
        if k.noise is None:
            sigma = float(torch.view_as_real(_outermost(k)).square().mean().sqrt())
            log.info("no noise scan; the outermost tenth of the samples is taken for noise, sigma = %.4g", sigma)
        else:
            k, sigma = _whitened(k, k.noise)
        if k.voxel_size is None:
            log.warning("the voxel size is unknown; NIfTI files say 1 mm")
        images.append(Measured(*_calibrated(k, sigma, settings.coils)))
    return images


def _whitened(k: KSpace, noise: Tensor) -> tuple[KSpace, float]:
    """k-space of independent channels of equal noise, in its own unit, and their sigma."""
    _, matrix = prewhiten(k.data, noise)
    sigma = float(torch.linalg.det(matrix).abs() ** (-1 / len(matrix)))  # so that the channels' mean gain is 1
    matrix = sigma * matrix
    calibration = None if k.calibration is None else torch.tensordot(matrix, k.calibration, 1)
    return replace(k, data=torch.tensordot(matrix, k.data, 1), calibration=calibration, noise=None), sigma


def _outermost(k: KSpace) -> Tensor:
    """The tenth of the samples furthest from the middle of k-space, where there is hardly any signal, (coils, n)."""
    if k.trajectory is not None:
        radius, data = torch.linalg.vector_norm(k.trajectory, dim=-1).flatten(), k.data.flatten(1)
    else:
        assert k.mask is not None
        axes = [(torch.arange(n) - n // 2) / n for n in k.mask.shape]
        distance = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
        radius, data = distance[k.mask], k.data[:, k.mask]
    return data[:, radius.argsort()[-max(len(radius) // 10, 2 * len(data)) :]]


def _calibrated(k: KSpace, sigma: float, coils: Coils) -> tuple[KSpace, float, Tensor]:
    """The k-space, compressed if asked for, its noise and the coil maps found in it."""
    if coils.compress is not None and coils.compress < len(k.data):
        data, matrix = coil_compression(k.data, coils.compress)
        calibration = None if k.calibration is None else torch.tensordot(matrix, k.calibration, 1)
        k = replace(k, data=data, calibration=calibration)
    middle = _calibration(k)
    if coils.maps == "espirit":
        return k, sigma, espirit(middle, calibration=_region(k, coils))
    return k, sigma, walsh(_low_resolution(middle, coils.calibration or 24))


def _calibration(k: KSpace) -> Tensor:
    """Cartesian k-space (coils, *image) whose middle is fully sampled."""
    if k.calibration is not None:
        return k.calibration
    if k.trajectory is None:
        return k.data
    single = NonCartesianMRI(k.trajectory, k.image_shape)
    weights = pipe_menon(k.trajectory, k.image_shape)
    images = single.adjoint((weights * k.data)[:, None])
    return CartesianMRI(torch.ones(k.image_shape)).forward(images)[:, 0]


def _region(k: KSpace, coils: Coils) -> int | None:
    """Side of the calibration region; gridded k-space is filled everywhere, and dense enough only in the middle."""
    gridded = k.trajectory is not None and k.calibration is None
    return coils.calibration or (24 if gridded else None)


def _low_resolution(k_space: Tensor, side: int) -> Tensor:
    """Coil images of the middle of k-space, apodised."""
    window = torch.ones(())
    for n in k_space.shape[1:]:
        distance = (torch.arange(n) - n // 2).abs() / (side / 2)
        window = window[..., None] * torch.where(distance < 1, torch.cos(torch.pi / 2 * distance) ** 2, 0.0)
    return CartesianMRI(torch.ones(k_space.shape[1:])).adjoint((window * k_space)[:, None])


def _operator(k: KSpace, maps: Tensor) -> CartesianMRI | NonCartesianMRI:
    if k.trajectory is None:
        assert k.mask is not None
        return CartesianMRI(k.mask, maps)
    return NonCartesianMRI(k.trajectory, k.image_shape, maps)


def _held_out(image: Measured, share: float, rng: np.random.Generator) -> tuple[Measured, Measured]:
    """The image without a share of its samples, and with those alone.

    Cartesian samples are drawn one by one, outside the middle that calibrates the coils; otherwise whole shots are.
    """
    k = image.k_space
    if k.mask is not None:
        middle = torch.zeros_like(k.mask)
        middle[tuple(slice(n // 2 - n // 16, n // 2 + n // 16 + 1) for n in k.mask.shape)] = True
        drawn = torch.from_numpy(rng.random(k.mask.shape) < share) & k.mask & ~middle
        if not drawn.any():
            raise ValueError(f"input.hold_out: {share:g} of the samples are none; expected a larger share")
        parts = [replace(k, data=k.data * mask, mask=mask) for mask in (k.mask & ~drawn, drawn)]
    else:
        assert k.trajectory is not None
        shots = len(k.trajectory)
        drawn = torch.zeros(shots, dtype=torch.bool)
        drawn[torch.from_numpy(rng.permutation(shots)[: max(1, round(share * shots))])] = True
        parts = [replace(k, data=k.data[:, some], trajectory=k.trajectory[some]) for some in (~drawn, drawn)]
    kept, hidden = (replace(image, k_space=part) for part in parts)
    return kept, hidden


def _stacked(images: Sequence[Measured]) -> tuple[LinearOperator, Tensor, Gaussian]:
    """One operator of all images, their data and noise."""
    operators = [image.operator for image in images]
    if len(images) == 1:
        return operators[0], images[0].k_space.data, Gaussian(images[0].sigma)
    stack = Stack(operators)
    sigmas = torch.tensor([image.sigma for image in images])
    if len(stack.out_shape) > 1:
        data = torch.stack([image.k_space.data for image in images])
        return stack, data, Gaussian(sigmas.reshape(-1, *[1] * (data.ndim - 1)))
    data = torch.cat([image.k_space.data.flatten() for image in images])
    return stack, data, Gaussian(sigmas.repeat_interleave(torch.tensor([i.k_space.data.numel() for i in images])))


def _joined(images: Sequence[Tensor]) -> Tensor:
    return images[0] if len(images) == 1 else torch.stack(list(images))


def _placed(k_spaces: Sequence[KSpace], image: Tensor) -> Image:
    if k_spaces[0].voxel_size is None:
        k_spaces = [replace(k, voxel_size=(1.0, 1.0, 1.0)) for k in k_spaces]
    if len(k_spaces) == 1:
        return k_spaces[0].place(image)
    return place_slices(k_spaces, image)
