import pytest
import torch

from scoreinv.baselines.learned.layers import widened
from scoreinv.baselines.learned.unet import UNet


@pytest.mark.parametrize("shape", [(8, 8), (13, 6), (1, 1)])
def test_any_size_is_answered_in_its_own(shape):
    torch.manual_seed(0)
    assert UNet(2, 3, 4, 3).eval()(torch.rand(5, 2, *shape)).shape == (5, 3, *shape)


def test_zeros_are_added_after_the_last_pixels():
    wide = widened(torch.ones(2, 5, 4), 4)
    assert wide.shape == (2, 8, 4)
    assert wide[:, :5].min() == 1
    assert wide[:, 5:].abs().max() == 0
