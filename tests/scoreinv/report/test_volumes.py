import base64
import zlib

import numpy as np
import pytest
import torch

from scoreinv.report import volumes
from scoreinv.report.volumes import averaged, fewer, packed


def levels(text):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def test_values_come_back_to_half_a_level():
    image = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    back = levels(packed(image, 0.0, 1.0)).reshape(3, 4, 5) / 255
    assert np.abs(back - image.numpy()).max() <= 0.5001 / 255


def test_values_beyond_the_range_are_clipped():
    assert levels(packed(torch.tensor([[[-9.0, -1.0, 1.0, 9.0]]]), -1.0, 1.0)).tolist() == [0, 0, 255, 255]


def test_an_image_of_one_value_is_black():
    assert levels(packed(torch.zeros(1, 2, 2), 0.0, 0.0)).tolist() == [0, 0, 0, 0]


def test_small_volumes_travel_whole():
    assert fewer((48, 128, 128), (3.0, 3.0, 3.0), 12) == (1, 1, 1)


@pytest.mark.parametrize("shape", [(512, 512, 512), (1, 9000, 9000), (20, 2048, 2048)])
def test_large_volumes_are_cut_below_the_limit(shape):
    factors = fewer(shape, (1.0, 1.0, 1.0), 10)
    assert averaged(torch.zeros(shape), factors).numel() * 10 <= volumes.MOST_BYTES


def test_the_finest_axis_is_cut_first(monkeypatch):
    monkeypatch.setattr(volumes, "MOST_BYTES", 40 * 50 * 50)
    assert fewer((40, 100, 100), (5.0, 1.0, 1.0), 1) == (1, 2, 2)


def test_averages_keep_the_mean_of_whole_and_of_cut_blocks():
    image = torch.arange(15.0).reshape(1, 3, 5)
    expected = torch.tensor([[[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]])
    torch.testing.assert_close(averaged(image, (1, 2, 2)), expected)
