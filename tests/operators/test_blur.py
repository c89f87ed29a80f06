import numpy as np
import pytest
import torch

from scoreinv.operators import Volume
from scoreinv.operators.blur import GaussianBlur

VOLUME = Volume((7, 20, 18), (3.0, 8.0, 8.5), center=(1.0, -3.0, 2.0))


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_blur_keeps_what_stays_inside_and_is_its_own_transpose():
    blur = GaussianBlur(VOLUME, (4.0, 20.0, 0.0))
    x, y = random(VOLUME.shape, 1) - 0.5, random(VOLUME.shape, 2) - 0.5
    Gx, Gy = blur(x), blur.adjoint(y)
    assert abs((Gx.double() * y).sum() - (x.double() * Gy).sum()) < 1e-6 * Gx.norm() * y.norm()
    point = torch.zeros(VOLUME.shape)
    point[3, 10, 9] = 1.0
    spread = blur(point)
    assert float(spread.sum()) == pytest.approx(1, rel=1e-5)
    places = (torch.arange(20) - 10) * 8.0
    assert float((spread.sum((0, 2)) * places**2).sum().sqrt()) == pytest.approx(20 / 2.355, rel=0.06)


def test_one_width_may_be_of_any_real_type():
    x = random(VOLUME.shape)
    for width in (9, np.float32(9), np.int64(9)):
        assert torch.equal(GaussianBlur(VOLUME, width)(x), GaussianBlur(VOLUME, 9.0)(x))
