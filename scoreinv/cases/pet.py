"""PET scans: simulated of an activity image or a phantom, or read from list mode or sinograms."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from scoreinv.attenuation import WATER, attenuation
from scoreinv.baselines import osem
from scoreinv.cases.case import Case, lying_on
from scoreinv.cases.lesion import with_lesion
from scoreinv.config.pet import Grid, Input, Lines, PETSettings, Phantom, Scan
from scoreinv.io import Image
from scoreinv.metrics import activities
from scoreinv.operators import (
    PET,
    TOF,
    LinearOperator,
    LinesOfResponse,
    ListModePET,
    PETScanner,
    Poisson,
    Sinogram,
    Volume,
    crystal_rates,
    mmr_efficiencies,
)
from scoreinv.operators.efficiencies import check_efficiencies

log = logging.getLogger("scoreinv")
EMITS = 0.01  # of the largest activity, so much counts as tissue
CRYSTAL, RING = 4.8, 5.0  # mm, of simulated scanners
SIDES = 28
LEAST_RATE = 0.1  # of the mean, of single photons in a crystal
SMOOTH = 4.0  # mm, standard deviation, for the window of measured scans
TOF_BINS = 2.0  # in one full width at half maximum


def load(settings: PETSettings) -> Case:
    """Read or simulate what is to be reconstructed."""
    if settings.input.list_mode is not None:
        return _list_mode(settings)
    if settings.input.sinogram is not None:
        return _sinogram(settings)
    return simulate(*_patient(settings.input), settings.scan, settings.lines)


def simulate(activity: Image, mu: Tensor, scan: Scan, lines: Lines) -> Case:
    """A noisy scan of an activity image >= 0 by rings that cover it; `mu` on its grid, 1/mm."""
    z, y, x = activity.data.shape
    volume = Volume((z, y, x), activity.voxel_size)
    scanner = scanner_around(volume)
    bins = lines.radial_bins or _bins_across(scanner, volume)
    reach = lines.max_ring_difference
    truth = activity.data
    if not float(truth.max()) > 0:
        raise ValueError("simulate: the activity is 0 everywhere; expected an image of something")
    operator = PET(
        scanner,
        volume,
        attenuation=mu,
        resolution_fwhm=lines.resolution_fwhm,
        tof=_tof(volume, scan.tof),
        sinogram=Sinogram(bins, None if reach is None else min(reach, scanner.rings - 1), lines.span),
    )
    seen = operator.forward(truth)
    tissue = float((truth > EMITS * truth.max()).sum()) * math.prod(volume.voxel_size)
    sensitivity = scan.counts * tissue / float(seen.double().sum())
    operator = operator.normalised(torch.tensor(sensitivity, dtype=torch.float32))
    expected = sensitivity * seen
    likelihood = Poisson(contamination(expected, scan.background))
    counts = likelihood.simulate(expected, torch.Generator().manual_seed(scan.seed))
    return Case(operator, counts, likelihood, truth, lying_on(activity), activities(truth))


def _patient(source: Input) -> tuple[Image, Tensor]:
    """Activity, and the mu-map (1/mm) on its grid."""
    if source.volume is None:
        activity, mu = phantom(source.phantom)
        image = lying_on(Volume(source.phantom.shape, source.phantom.voxel_size))(activity)
    else:
        from scoreinv.io import read_image

        image = read_image(source.volume)
        if float(image.data.min()) < 0:
            raise ValueError(f"input.volume: {source.volume} holds negative values, expected activity >= 0")
        mu = body_of_water(image) if source.attenuation is None else _mu_map(source, image)
    if source.slices is None:
        return image, mu
    first, last = source.slices
    if not first < last <= len(image.data):
        raise ValueError(f"input.slices: {first} to {last} of a volume of {len(image.data)}; expected a part of it")
    shift = image.direction[:, 0] * first * image.voxel_size[0]
    z, y, x = (np.array(image.origin) + shift).tolist()
    return replace(image, data=image.data[first:last].contiguous(), origin=(z, y, x)), mu[first:last]


def phantom(settings: Phantom) -> tuple[Tensor, Tensor]:
    """A procedural patient after FDG: `head_uptake` or `body_uptake`, and the attenuation of the same anatomy.

    Args:
        settings: region, seed, shape (z, y, x) and voxel size (z, y, x), mm.

    Returns:
        Activity, (z, y, x) float32, >= 0, in units of mean soft tissue, and mu-map at 511 keV, (z, y, x) float32, 1/mm;
        axes point to the patient's Superior, Posterior and Left, centred on the grid.
    """
    from scoreinv.head import head
    from scoreinv.tracer import body_uptake, head_uptake

    if settings.region == "body":
        activity, mu = body_uptake(settings.seed, settings.shape, settings.voxel_size)
    else:
        tissues = head(settings.seed, settings.shape, settings.voxel_size)
        activity, mu = head_uptake(tissues, settings.seed), attenuation(tissues)
    return with_lesion(activity, settings.voxel_size, settings.lesion), mu


def body_of_water(image: Image) -> Tensor:
    """A mu-map where there is none: water wherever the activity, smoothed over 2 cm, is above 1 % of its 99th
    percentile."""
    sigma = [20 / 2.355 / size for size in image.voxel_size]
    smooth = torch.from_numpy(gaussian_filter(image.data.numpy(), sigma))
    log.info("no mu-map given: the scan is simulated with a body of water")
    return WATER * (smooth > 0.01 * np.percentile(smooth.numpy(), 99)).to(torch.float32)


def _mu_map(source: Input, grid: Image, place: str = "where the image does") -> Tensor:
    """That of a file, which must lie where the image does."""
    from scoreinv.io import read_image

    assert source.attenuation is not None
    found, shape = read_image(source.attenuation), tuple(grid.data.shape)
    if tuple(found.data.shape) != shape or not np.allclose(found.voxel_size, grid.voxel_size, rtol=1e-2):
        raise ValueError(
            f"input.attenuation: {source.attenuation} has shape {tuple(found.data.shape)} and voxels of "
            f"{found.voxel_size} mm, expected those of the image, {shape} and {grid.voxel_size}; resample it onto the "
            "same grid"
        )
    apart = np.abs(np.subtract(found.origin, grid.origin))
    if np.any(apart > np.array(grid.voxel_size)) or not np.allclose(found.direction, grid.direction, atol=1e-2):
        raise ValueError(
            f"input.attenuation: {source.attenuation} begins at {found.origin} mm (S, P, L), expected {place}, "
            f"{grid.origin}, turned alike; resample it onto the same grid"
        )
    return found.data


def _measured_mu_map(source: Input, volume: Volume) -> Tensor | None:
    if source.attenuation is None:
        log.warning("input.attenuation is not given: attenuation is not corrected")
        return None
    middle = "its own middle in that of the scanner"
    return _mu_map(source, lying_on(volume)(torch.zeros(volume.shape)), middle)


def scanner_around(volume: Volume) -> PETScanner:
    """A scanner whose rings cover the volume along the axis, and whose bore goes round it."""
    depth, height, width = (n * size for n, size in zip(volume.shape, volume.voxel_size, strict=True))
    radius = max(180.0, 0.75 * max(height, width))
    side = 2 * radius * math.tan(math.pi / SIDES)
    rings = math.ceil(depth / RING)
    positions = (np.arange(rings) - (rings - 1) / 2) * RING
    return PETScanner(radius, SIDES, int(side / CRYSTAL), CRYSTAL, tuple(positions.tolist()))


def _bins_across(scanner: PETScanner, volume: Volume) -> int:
    """The central radial bins that meet the volume."""
    reach = 0.5 * math.hypot(*(n * size for n, size in zip(volume.shape[1:], volume.voxel_size[1:], strict=True)))
    bins = 2 * math.ceil(scanner.crystals / math.pi * math.asin(min(1.0, reach / scanner.radius)))
    return min(bins, scanner.crystals - 1)


def _tof(volume: Volume, resolution: float | None) -> TOF | None:
    """Bins that cover the volume and the tails of the resolution."""
    if resolution is None:
        return None
    one = TOF.from_times(1, resolution / TOF_BINS, resolution)
    across = math.hypot(*(n * size for n, size in zip(volume.shape, volume.voxel_size, strict=True)))
    return replace(one, bins=2 * math.ceil((across / 2 + 3 * one.sigma) / one.bin_width) + 1)


def contamination(expected: Tensor, share: float) -> Tensor:
    """A background of so many counts, half of it flat, as randoms are, half of it blurred, as scatter is.

    b = share (mean(y) + mean(y) s / mean(s)) / 2, with s the expected counts y, summed over time of flight, blurred
    beyond recognition: by Gaussians of an eighth of the radial bins, a fourth of the views and two planes. It has
    `share` times their counts, and none where none are expected.

    Args:
        expected: y, counts (radial, views, planes[, tof]).
        share: >= 0, of the counts expected.

    Returns:
        Counts, of the shape of `expected`.

    Raises:
        ValueError: for a share out of its range.
    """
    if not 0 <= share < math.inf:
        raise ValueError(f"contamination: share is {share}, expected a finite number >= 0 of the counts expected")
    if not bool(expected.any()):
        return torch.zeros_like(expected)
    radial, views, planes = expected.shape[:3]
    lines = expected.numpy().reshape(radial, views, planes, -1).mean(-1)
    # Views are blurred as if the sinogram went on; over half a turn it returns mirrored.
    scatter = gaussian_filter(lines, (radial / 8, views / 4, 2), mode=("constant", "nearest", "nearest"))
    shape = torch.from_numpy(scatter).reshape(radial, views, planes, *[1] * (expected.ndim - 3))
    mean = expected.double().mean().float()
    return share * 0.5 * (mean + shape * (mean / shape.mean())).expand(expected.shape)


def _list_mode(settings: PETSettings) -> Case:
    from scoreinv.io import histogram, read_siemens_list_mode

    source, asked = settings.input, settings.lines
    assert source.list_mode is not None
    scanner = PETScanner.biograph_mmr()
    everywhere = Sinogram(344, 60)
    reach = 60 if asked.max_ring_difference is None else asked.max_ring_difference
    sinogram = Sinogram(asked.radial_bins or 344, reach, asked.span)
    lines = LinesOfResponse(scanner, sinogram)
    # Delays of all lines there are, since the more the less noise.
    events = read_siemens_list_mode(source.list_mode, sinogram, everywhere)
    if len(events.prompts) == 0:
        raise ValueError(
            f"input.list_mode: {source.list_mode} holds no prompts of these lines and {events.outside[0]} of others, "
            "expected at least one; was the scan cut, or are radial_bins and max_ring_difference too few?"
        )
    rates = crystal_rates(LinesOfResponse(scanner, everywhere), events.delays)
    efficiencies = mmr_efficiencies()
    # In a short scan some crystals have no delay by chance, but none has no randoms at all.
    randoms = lines.products(rates.clamp(min=LEAST_RATE * float(rates.mean())) * efficiencies)
    log.warning("list mode knows neither scatter nor the scanner's own efficiencies: images have shape, not quantity")
    log.info("%d prompts and %.0f randoms in %g s", len(events.prompts), float(randoms.sum()), events.seconds)
    volume = _grid(lines, settings.grid)
    operator = PET(
        scanner,
        volume,
        attenuation=_measured_mu_map(source, volume),
        normalisation=lines.products(efficiencies) / lines.multiplicity,
        resolution_fwhm=asked.resolution_fwhm,
        sinogram=sinogram,
    )
    if asked.histogram:
        return _measured(operator, volume, histogram(events.prompts, lines.shape), randoms)
    radial, view, plane = events.prompts.long().unbind(1)
    return _measured(
        ListModePET(operator, events.prompts), volume, torch.ones(len(events.prompts)), randoms[radial, view, plane]
    )


def _sinogram(settings: PETSettings) -> Case:
    from scoreinv.io import read_interfile_sinogram

    source, asked = settings.input, settings.lines
    assert source.sinogram is not None
    prompts = read_interfile_sinogram(source.sinogram)
    others = {}
    for key in ("background", "efficiencies"):
        path = getattr(source, key)
        if path is not None:
            others[key] = read_interfile_sinogram(path).data
            if others[key].shape != prompts.data.shape:
                raise ValueError(
                    f"input.{key}: {path} has (radial, views, planes) = {tuple(others[key].shape)}, expected those of "
                    f"the prompts, {tuple(prompts.data.shape)}"
                )
    efficiencies = others.get("efficiencies")
    if efficiencies is not None:
        check_efficiencies(f"input.efficiencies: {source.efficiencies}", efficiencies)
    volume = _grid(LinesOfResponse(prompts.scanner, prompts.sinogram), settings.grid)
    operator = PET(
        prompts.scanner,
        volume,
        attenuation=_measured_mu_map(source, volume),
        normalisation=efficiencies,
        resolution_fwhm=asked.resolution_fwhm,
        sinogram=prompts.sinogram,
    )
    if efficiencies is not None:
        try:
            _ = operator.factors  # which sees whether efficiencies follow the attenuation
        except ValueError as error:
            raise ValueError(f"input.efficiencies: {source.efficiencies}: {error}") from None
    if source.background is None:
        log.warning("input.background is not given: randoms and scatter are taken for true coincidences")
    return _measured(operator, volume, prompts.data, others.get("background", torch.zeros(())))


def _measured(operator: LinearOperator, volume: Volume, data: Tensor, background: Tensor) -> Case:
    if not bool(data.any()):
        raise ValueError("input: there are no counts in any line, expected prompts as counted; is the scan empty?")
    likelihood = Poisson(background)
    # Smoothed: of few counts the brightest voxels are noise, and a window up to them shows nothing else.
    shown = gaussian_filter(
        osem(operator, data, likelihood=likelihood, iterations=1).numpy(), [SMOOTH / size for size in volume.voxel_size]
    )
    return Case(operator, data, likelihood, None, lying_on(volume), activities(torch.from_numpy(shown)))


def _grid(lines: LinesOfResponse, grid: Grid) -> Volume:
    """The grid asked for, or two slices a ring and a voxel a radial bin."""
    scanner = lines.scanner
    rings, bins = scanner.rings, lines.shape[0]
    pitch = abs(scanner.ring_positions[1] - scanner.ring_positions[0]) if rings > 1 else scanner.crystal_size
    voxel = math.pi * scanner.radius / scanner.crystals
    return Volume(grid.shape or (2 * rings - 1, bins, bins), grid.voxel_size or (pitch / 2, voxel, voxel))
