import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from scoreinv.baselines.learned.points import cell_centers, read_views, read_volume, shadows, within
from scoreinv.operators import ConeBeamGeometry, Volume

VOLUME = Volume((4, 6, 5), (3.0, 2.0, 2.5), center=(1.0, -4.0, 2.0))
# Odd sizes, displaced: nothing may rest on symmetry.
GEOMETRY = ConeBeamGeometry.circular(200, 300, (13, 18), (4.0, 3.0), [0.3, 1.4, 2.9], detector_offset=(3.0, -5.0))


def test_cells_of_the_volume_itself_are_its_voxels():
    points = cell_centers(VOLUME, VOLUME.shape)
    index = np.indices(VOLUME.shape).reshape(3, -1).T
    np.testing.assert_allclose(points, VOLUME.first_voxel + index * VOLUME.voxel_size)
    assert torch.equal(cell_centers(VOLUME, VOLUME.shape, 7, 20), points[7:20])


def test_reading_the_lattice_at_its_own_points_returns_it():
    cells = (3, 5, 4)
    features = torch.rand(1, 2, *cells, generator=torch.Generator().manual_seed(0))
    fractions = within(VOLUME, cell_centers(VOLUME, cells))
    torch.testing.assert_close(read_volume(features, fractions[None]), features.flatten(2), rtol=1e-5, atol=1e-5)


def test_a_ramp_over_the_detector_is_read_as_the_pixel_the_geometry_names():
    points = cell_centers(VOLUME, VOLUME.shape)
    pixels = torch.from_numpy(GEOMETRY.project(points.numpy())).float()
    for multiple in (1, 4):
        rows, columns = -(-13 // multiple) * multiple, -(-18 // multiple) * multiple
        ramp = torch.stack(torch.meshgrid(torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij"))
        places = shadows(GEOMETRY, points, multiple)
        inside = (pixels > 0).all(-1) & (pixels[..., 0] < rows - 1) & (pixels[..., 1] < columns - 1)
        assert inside.float().mean() > 0.8
        for view in range(3):
            found = read_views(ramp[None, None], places[None, view : view + 1])[0].T
            torch.testing.assert_close(found[inside[view]], pixels[view][inside[view]], rtol=1e-4, atol=1e-3)


def test_coarse_features_stand_in_the_middle_of_their_pixels():
    points = cell_centers(VOLUME, VOLUME.shape)
    places = shadows(GEOMETRY, points, 4)
    # The mean of 4 x 4 pixels of a ramp is the ramp at their middle.
    ramp = torch.arange(20.0).expand(16, 20)
    coarse = torch.nn.functional.avg_pool2d(ramp[None, None], 4)[None]
    found, fine = (read_views(maps, places[None, :1])[0, 0] for maps in (coarse, ramp[None, None, None]))
    pixels = torch.from_numpy(GEOMETRY.project(points.numpy()))[0]
    inside = ((pixels > 1.5) & (pixels < torch.tensor([13.5, 17.5]))).all(-1)
    assert inside.any()
    torch.testing.assert_close(found[inside], fine[inside], rtol=1e-4, atol=1e-3)


def test_points_behind_the_source_read_nothing():
    behind = torch.tensor([[0.0, 500.0 * np.sin(0.3), 500.0 * np.cos(0.3)]], dtype=torch.float64)
    places = shadows(GEOMETRY.subset(0, 3), behind, 1)
    assert torch.equal(read_views(torch.ones(1, 1, 1, 13, 18), places[None]), torch.zeros(1, 1, 1))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_gradients_of_reading_views_and_volume_are_right(pool):
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    maps, features = random(2, 3, 2, 4, 5).requires_grad_(), random(2, 2, 3, 4, 5).requires_grad_()
    places, fractions = 2.4 * random(2, 3, 7, 2) - 1.2, 2.4 * random(2, 7, 3) - 1.2
    seen = torch.tensor([[True, False, True], [True, True, True]])
    assert gradcheck(lambda m: read_views(m, places, seen, pool), maps)
    assert gradcheck(lambda v: read_volume(v, fractions), features)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_views_are_pooled_as_asked_and_hidden_ones_left_out(pool):
    generator = torch.Generator().manual_seed(3)
    maps, places = torch.randn(2, 4, 3, 6, 7, generator=generator), torch.rand(2, 4, 5, 2, generator=generator)
    seen = torch.tensor([[True, False, True, True], [False, True, False, False]])
    found = read_views(maps, places, seen, pool)
    for item in range(2):
        read = [read_views(maps[item, None, view, None], places[item, None, view, None])[0] for view in range(4)]
        some = torch.stack([value for value, asked in zip(read, seen[item], strict=True) if asked])
        torch.testing.assert_close(found[item], some.amax(0) if pool == "max" else some.mean(0))
