"""Paths through k-space: (shots, samples, d) float32, rad per voxel within [-pi, pi], axes (y, x) or (z, y, x).

[-pi, pi] spans the resolution of the image's voxels; steps of 2 pi / n lie 1 / (field of view of n voxels) apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2  # 111.25 degrees
_GOLDEN_MEANS = (0.465571231876768, 0.682327803828019)  # of two dimensions


def radial(spokes: int, samples: int, golden: bool = True) -> Tensor:
    """Straight spokes through the middle of a plane, (spokes, samples, 2).

    Fully sampled for an image of n x n with pi n / 2 spokes and n samples.

    Args:
        spokes: their number.
        samples: of each spoke, from -pi in steps of 2 pi / samples; number samples // 2 lies in the middle.
        golden: angles apart by 111.25 degrees, so that any spokes in a row are spread evenly [Winkelmann et al. 2007,
            IEEE TMI 26:68-76]; otherwise by 180 degrees / spokes.

    Raises:
        ValueError: without spokes or samples.
    """
    _check_positive(spokes=spokes, samples=samples)
    angles = torch.arange(spokes, dtype=torch.float64) * (_GOLDEN_ANGLE if golden else math.pi / spokes)
    directions = torch.stack([angles.sin(), angles.cos()], -1)
    return (_line(samples)[:, None] * directions[:, None]).float()


def spiral(interleaves: int, samples: int, turns: float) -> Tensor:
    """Archimedean spirals from the middle of a plane to radius pi, (interleaves, samples, 2).

    Samples lie evenly along the path, but for its beginning: the radius grows with the square root of time [Meyer et
    al. 1992, MRM 28:202-213]. Fully sampled for an image of n x n with interleaves * turns = n / 2 and about
    pi n^2 / (4 interleaves) samples or more.

    Args:
        interleaves: shots, each rotated against the last by 360 degrees / interleaves.
        samples: of each shot.
        turns: of each shot around the middle.

    Raises:
        ValueError: without interleaves, samples or turns.
    """
    _check_positive(interleaves=interleaves, samples=samples, turns=turns)
    radius = torch.linspace(0, 1, samples, dtype=torch.float64).sqrt()
    starts = torch.arange(interleaves, dtype=torch.float64)[:, None] / interleaves
    angles = 2 * math.pi * (turns * radius + starts)
    return (math.pi * radius[..., None] * torch.stack([angles.sin(), angles.cos()], -1)).float()


def stack_of_stars(spokes: int, samples: int, partitions: int, golden: bool = True) -> Tensor:
    """The same radial spokes in every Cartesian partition along z, (partitions * spokes, samples, 3).

    Partition by partition; number partitions // 2 holds kz = 0 [Block et al. 2014, J. Korean Soc. MRM 18:87-106].

    Args:
        spokes: of each partition.
        samples, golden: as in `radial`.
        partitions: their number, which is the number of slices of a fully sampled image.

    Raises:
        ValueError: without spokes, samples or partitions.
    """
    _check_positive(partitions=partitions)
    star = radial(spokes, samples, golden)
    height = _line(partitions).float()[:, None, None, None].expand(partitions, spokes, samples, 1)
    return torch.cat([height, star.expand(partitions, -1, -1, -1)], -1).flatten(0, 1)


def koosh_ball(spokes: int, samples: int) -> Tensor:
    """Straight spokes through the middle of a volume, in golden means, (spokes, samples, 3).

    Any spokes in a row are spread evenly over the sphere [Chan et al. 2009, MRM 61:354-363]. Fully sampled for an image
    of n x n x n with pi n^2 / 2 spokes and n samples.

    Args:
        spokes: their number.
        samples: of each spoke, as in `radial`.

    Raises:
        ValueError: without spokes or samples.
    """
    _check_positive(spokes=spokes, samples=samples)
    number = torch.arange(spokes, dtype=torch.float64)
    z = (number * _GOLDEN_MEANS[0]) % 1
    angles = 2 * math.pi * (number * _GOLDEN_MEANS[1] % 1)
    width = (1 - z.square()).sqrt()
    directions = torch.stack([z, width * angles.sin(), width * angles.cos()], -1)
    return (_line(samples)[:, None] * directions[:, None]).float()


def _line(samples: int) -> Tensor:
    """-pi to just below pi, with 0 at samples // 2; rad per voxel."""
    return 2 * math.pi / samples * (torch.arange(samples, dtype=torch.float64) - samples // 2)


def _check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name} is {number}, expected a number above 0")
