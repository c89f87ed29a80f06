"""What regions of a phantom tell: how much contrast comes back, and how even a flat region is."""

from __future__ import annotations

from torch import Tensor

from scoreinv.metrics._checks import check_mask, check_pair


def contrast_recovery(image: Tensor, reference: Tensor, region: Tensor, surroundings: Tensor) -> float:
    """Share of a region's contrast that comes back (NEMA NU 2-2018, section 7.4.1, without its factor of 100).

    (region / surroundings - 1) of the image over the same of the reference, of means over the masks: 1 is all of it, 0
    none, and a cold region's is counted alike.

    Args:
        image: any shape, activity or another quantity whose zero is nothing: not HU.
        reference: of the same shape and unit, up to a factor.
        region: bool, of the same shape.
        surroundings: bool, of the same shape.

    Raises:
        TypeError: for masks that are not bool.
        ValueError: for shapes that differ, masks that choose nothing, surroundings whose mean is 0, or a reference
            without contrast.
    """
    check_pair("contrast_recovery", image, reference)
    for mask in (region, surroundings):
        check_mask("contrast_recovery", image, mask)
    true = _contrast(reference, region, surroundings, "reference")
    if true == 0:
        raise ValueError("contrast_recovery: region and surroundings of the reference are equal; expected a contrast")
    return _contrast(image, region, surroundings, "image") / true


def uniformity(image: Tensor, region: Tensor) -> float:
    """Integral uniformity, 1 - (largest - smallest) / (largest + smallest), of a region that should be flat.

    1 is flat (NEMA MS 3-2008, equation 2, without its factor of 100; NEMA NU 1 reports 1 minus this). Both standards
    smooth the image first, so that shading is measured and not noise: pass a smoothed image, whose filter is yours.

    Args:
        image: any shape, real and positive in the region: activity, attenuation in 1/mm, magnitude; not HU.
        region: bool, of the same shape.

    Raises:
        TypeError: for a complex image, or a mask that is not bool.
        ValueError: for a mask of another shape or that chooses nothing, or an image that is not positive there.
    """
    if image.is_complex():
        raise TypeError("uniformity: image is complex, expected real; pass its magnitude")
    check_mask("uniformity", image, region)
    values = image[region].double()
    low, high = float(values.min()), float(values.max())
    if low <= 0:
        raise ValueError(f"uniformity: image falls to {low:g} in the region, expected positive values; HU have none")
    return 1 - (high - low) / (high + low)


def _contrast(image: Tensor, region: Tensor, surroundings: Tensor, name: str) -> float:
    around = float(image[surroundings].double().mean())
    if around == 0:
        raise ValueError(f"contrast_recovery: the surroundings of the {name} have mean 0; expected activity around")
    return float(image[region].double().mean()) / around - 1
