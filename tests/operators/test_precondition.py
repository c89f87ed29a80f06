import pytest
import torch

from scoreinv.operators.precondition import local_gain

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_gain_of_a_multiple_of_identity_is_that_multiple(dtype):
    gain = local_gain(lambda x: 3 * x, (8, 24, 24), dtype, CPU)
    assert gain.dtype == torch.float32
    assert float(gain.mean()) == pytest.approx(3, rel=0.05)
    assert float(gain.std()) < 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_gain_of_a_smooth_diagonal_is_that_diagonal(dtype):
    ramp = torch.sin(torch.linspace(0, 2 * torch.pi, 65)[:64])
    diagonal = (2 + ramp)[:, None].expand(64, 64).contiguous()
    gain = local_gain(lambda x: diagonal * x, (64, 64), dtype, CPU)
    assert float(((gain - diagonal) / diagonal).abs().mean()) < 0.15


def test_gain_is_positive_where_the_operator_sees_nothing():
    seen = torch.zeros(32, 32)
    seen[:8] = 1e6
    gain = local_gain(lambda x: seen * x, (32, 32), torch.float32, CPU)
    assert bool((gain > 0).all())
    assert float(gain[4].mean()) > 100 * float(gain[20].mean())
    assert bool((local_gain(torch.zeros_like, (8, 8), torch.float32, CPU) > 0).all())


def test_gain_is_the_same_every_time():
    first, second = (local_gain(lambda x: x.roll(1, -1) + 3 * x, (16, 16), torch.float32, CPU) for _ in range(2))
    assert torch.equal(first, second)
