import pytest
import torch
from torch.nn import functional

from scoreinv.training.resampling import resampled


def image(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("new", [(5, 6), (10, 12), (20, 24), (30, 18)])
def test_over_the_whole_image_it_is_interpolation_without_aliases(new):
    """As PyTorch has it in two dimensions; beyond the outermost middles, its weights are those of what is there."""
    values, size = image(10, 12), (2.0, 1.5)
    new_size = [size[k] * values.shape[k] / new[k] for k in range(2)]
    expected = functional.interpolate(values[None, None], new, mode="bilinear", antialias=True)[0, 0]
    torch.testing.assert_close(resampled(values, size, new, new_size, 0.0), expected)


def test_same_voxels_are_cropped_or_filled_about_the_middle():
    values = image(4, 6, 5)
    out = resampled(values, (1.0, 2.0, 3.0), (6, 4, 5), (1.0, 2.0, 3.0), -7.0)
    expected = torch.full((6, 4, 5), -7.0)
    expected[1:5] = values[:, 1:5]
    torch.testing.assert_close(out, expected)


def test_a_place_keeps_its_value_on_any_grid():
    """Of a ramp, which triangles reproduce: the middle stays where it was."""
    values = torch.arange(21.0)[:, None].expand(21, 3) - 10
    out = resampled(values, (2.0, 1.0), (5, 3), (3.0, 1.0), 0.0)
    torch.testing.assert_close(out[:, 1], torch.tensor([-3.0, -1.5, 0.0, 1.5, 3.0]))
