"""Streamed moments."""

import pytest
import torch
from toys import random

from scoreinv.uncertainty import Moments


def streamed(images):
    moments = Moments()
    for image in images:
        moments.add(image)
    return moments


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_streamed_moments_equal_those_of_the_stack(dtype):
    images = 1e3 + random(7, 4, 5, dtype=dtype)
    moments = streamed(images)
    assert torch.allclose(moments.mean, images.mean(0))
    assert torch.allclose(moments.std, images.std(0))


def test_joined_moments_equal_those_of_all():
    images = random(9, 4, 5)
    joined = streamed(images[:2])
    joined.join(streamed(images[2:]))
    joined.join(Moments())
    assert joined.count == 9
    assert torch.allclose(joined.mean, images.mean(0))
    assert torch.allclose(joined.std, images.std(0))


def test_one_image_has_no_spread():
    with pytest.raises(ValueError, match="a spread of 1 images"):
        _ = streamed(random(1, 3)).std


def test_another_shape_is_refused():
    moments = streamed(random(1, 3))
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        moments.add(random(4))
