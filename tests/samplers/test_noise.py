import pytest
import torch

from scoreinv.samplers import NoiseSource


def test_draw_depends_on_its_address_alone():
    source = NoiseSource(7, (5, 8, 8))
    together = source.draw([0, 1, 2], step=3, draw=1)
    torch.testing.assert_close(together[1:2], NoiseSource(7, (5, 8, 8)).draw([1], step=3, draw=1), rtol=0, atol=0)


def test_every_part_of_the_address_matters():
    source = NoiseSource(7, (5, 8, 8))
    first = source.draw([0], 0, 0)
    others = [source.draw([1], 0, 0), source.draw([0], 1, 0), source.draw([0], 0, 1)]
    others.append(NoiseSource(8, (5, 8, 8)).draw([0], 0, 0))
    for other in others:
        assert float((first * other).mean().abs()) < 0.25
    assert float((first[0, 0] * first[0, 1]).mean().abs()) < 0.5  # slices


def test_a_volume_of_one_slice_is_as_any_other():
    one = NoiseSource(7, (1, 8, 8)).draw([0], 0)
    many = NoiseSource(7, (3, 8, 8)).draw([0], 0)
    torch.testing.assert_close(one[0, 0], many[0, 0], rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(40, 50), (6, 20, 20), (4000,)])
def test_standard_normal(shape):
    z = NoiseSource(0, shape).draw(range(4), 0)
    assert z.shape == (4, *shape)
    assert float(z.mean()) == pytest.approx(0, abs=0.05)
    assert float(z.std()) == pytest.approx(1, abs=0.05)


def test_complex_noise_has_unit_variance_per_component():
    z = NoiseSource(0, (60, 60), torch.complex64).draw([0, 1], 0)
    assert z.dtype == torch.complex64
    assert float(z.real.std()) == pytest.approx(1, abs=0.05)
    assert float(z.imag.std()) == pytest.approx(1, abs=0.05)
