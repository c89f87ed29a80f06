"""What regions of an image say: how much of a contrast came back, and how even what is uniform looks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def contrast_recovery(image: Tensor, reference: Tensor, region: Tensor, surroundings: Tensor) -> float:
    """(m / m_s - 1) / (m' / m_s' - 1): the share of a region's contrast in the reference that the image has.

    The hot contrast recovery of NEMA NU 2, section 7, with the true contrast measured in the reference.

    Args:
        image, reference: of one shape, in a unit whose zero means nothing, such as activity or attenuation.
        region, surroundings: masks of that shape.

    Raises:
        ValueError: for an empty mask, one of another shape, or a region without contrast in the reference.
    """
    true = _contrast(reference, region, surroundings)
    if true == 0:
        raise ValueError("contrast_recovery: the region is as bright as its surroundings in the reference")
    return _contrast(image, region, surroundings) / true


def uniformity(image: Tensor, regions: Sequence[Tensor]) -> float:
    """The largest difference between the mean of the first region and that of another, in the unit of the image.

    Of a uniform phantom, with the first region in its middle (IEC 61223-3-5, for CT in HU).

    Raises:
        ValueError: for fewer than two regions, an empty one, or one of another shape.
    """
    if len(regions) < 2:
        raise ValueError(f"uniformity: {len(regions)} regions, expected the middle one and others")
    middle, *others = (_mean(image, region) for region in regions)
    return max(abs(mean - middle) for mean in others)


def _contrast(image: Tensor, region: Tensor, surroundings: Tensor) -> float:
    return _mean(image, region) / _mean(image, surroundings) - 1


def _mean(image: Tensor, region: Tensor) -> float:
    if region.shape != image.shape or not bool((region != 0).any()):
        raise ValueError(
            f"region has shape {tuple(region.shape)} and {int((region != 0).sum())} voxels, expected some of an image "
            f"of {tuple(image.shape)}"
        )
    return float(image[region != 0].double().mean())
