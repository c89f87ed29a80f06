import math

import pytest
import torch

from scoreinv.samplers import RDPz, TVz


@pytest.fixture(scope="module")
def image():
    return torch.randn(9, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_prox_minimises_its_energy(image, axis):
    # x - u = t D^T p with |p| <= 1, and p = sign(D u) where u jumps; along a line t p is minus the sum of x - u so far.
    t = 0.3
    u = TVz(axis=axis).prox(image, t, 3, iterations=3000)
    p = -(image - u).cumsum(axis).narrow(axis, 0, image.shape[axis] - 1) / t
    jumps = u.diff(dim=axis)
    assert float(p.abs().max()) < 1 + 1e-4
    torch.testing.assert_close(p[jumps.abs() > 1e-3], jumps.sign()[jumps.abs() > 1e-3], atol=1e-3, rtol=0)
    torch.testing.assert_close((image - u).sum(axis), torch.zeros_like(u.sum(axis)), atol=1e-5, rtol=0)


def test_a_few_iterations_come_near(image):
    exact = TVz().prox(image, 0.1, 3, iterations=3000)
    error = float((TVz().prox(image, 0.1, 3) - exact).norm() / (image - exact).norm())
    assert error < 0.05


def test_prox_leaves_constants_alone():
    constant = torch.arange(20.0).reshape(4, 5).expand(6, 4, 5)
    torch.testing.assert_close(TVz().prox(constant, 1.0, 3), constant)


def test_prox_keeps_the_mean_across_slices_and_the_batch_apart(image):
    batch = torch.stack([image, 10 * image])
    got = TVz().prox(batch, 0.3, 3)
    torch.testing.assert_close(got.mean(-3), batch.mean(-3), atol=1e-5, rtol=0)
    torch.testing.assert_close(got[0], TVz().prox(image, 0.3, 3))


def test_large_threshold_makes_slices_equal(image):
    got = TVz().prox(image, 100.0, 3, iterations=3000)
    torch.testing.assert_close(got, image.mean(0).expand_as(image), atol=1e-3, rtol=0)


def test_shrink_moves_towards_zero_by_the_threshold():
    d = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    torch.testing.assert_close(TVz().shrink(d, 1.0), torch.tensor([-1.0, 0.0, 0.0, 0.0, 1.0]))


def test_shrink_keeps_the_phase_of_complex_values():
    d = torch.polar(torch.tensor([3.0, 0.5]), torch.tensor([1.0, 2.0]))
    got = TVz().shrink(d, 1.0)
    assert float(got[0].abs()) == pytest.approx(2.0)
    assert float(got[0].angle()) == pytest.approx(1.0)
    assert complex(got[1]) == 0


def test_map_takes_differences_of_neighbours(image):
    assert TVz().map((9, 4, 5), torch.float32).out_shape == (8, 4, 5)
    assert math.isclose(TVz().map((9, 4, 5), torch.float32).norm() ** 2, 4, rel_tol=0.05)


def active(*shape, seed=0):
    """Activities from 1e-3 to 10."""
    return 10 ** (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 4 - 3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rdp_compares_neighbours_along_its_axis_alone(axis):
    x = active(4, 5, 3)
    a, b = x.narrow(axis, 0, x.shape[axis] - 1), x.narrow(axis, 1, x.shape[axis] - 1)
    wanted = ((a - b) ** 2 / (a + b + 2 * (a - b).abs() + 1e-3)).sum()
    torch.testing.assert_close(RDPz(axis=axis).value(x, 3), wanted)


def test_rdp_parabola_touches_from_above():
    x = active(6, 4, 5).double().requires_grad_()
    (slope,) = torch.autograd.grad(RDPz().value(x, 3), x)
    g, c = RDPz().quadratic(x.detach(), 3)
    torch.testing.assert_close(g, slope)
    u = active(6, 4, 5, seed=1).double()
    step = u - x.detach()
    assert float(RDPz().value(u, 3)) <= float(RDPz().value(x.detach(), 3) + (g * step + c * step**2 / 2).sum())


def test_prox_of_rdp_minimises_its_energy_over_nonnegative_images():
    x, t = active(6, 4, 5).double() - 0.01, 0.5
    u = RDPz().prox(x, t, 3, iterations=3000)
    slope = u - x + t * RDPz().quadratic(u, 3)[0]
    assert float(u.min()) >= 0
    assert float((u * slope).abs().max()) < 1e-4
    assert float(slope.min()) > -1e-4


def test_prox_of_rdp_takes_batches_and_leaves_equal_slices_alone():
    batch = torch.stack([active(6, 4, 5), active(6, 4, 5, seed=1)])
    torch.testing.assert_close(RDPz().prox(batch, 0.3, 3)[1], RDPz().prox(batch[1], 0.3, 3))
    equal = active(4, 5).expand(6, 4, 5)
    torch.testing.assert_close(RDPz().prox(equal, 1.0, 3), equal)


def test_rdp_settings_out_of_range_are_refused():
    for settings in ({"strength": -1.0}, {"gamma": 0.5}, {"epsilon": 0.0}):
        with pytest.raises(ValueError, match="RDPz"):
            RDPz(**settings)
