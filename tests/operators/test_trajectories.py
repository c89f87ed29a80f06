import math

import pytest
import torch

from scoreinv.operators import NonCartesianMRI
from scoreinv.operators.density import pipe_menon, radial_density
from scoreinv.operators.trajectories import koosh_ball, radial, spiral, stack_of_stars

N = 32
TRAJECTORIES = {
    "radial": radial(60, N),
    "radial, even angles": radial(60, 2 * N, golden=False),
    "spiral": spiral(8, 300, 3.0),
    "stack of stars": stack_of_stars(20, 16, 4),
    "koosh ball": koosh_ball(50, 12),
}
every = pytest.mark.parametrize("trajectory", TRAJECTORIES.values(), ids=TRAJECTORIES.keys())


def phantom(shape):
    """Smooth blobs off the middle, complex."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    blob = torch.exp(-sum((axis - 0.2) ** 2 for axis in axes) / 0.05)
    other = torch.exp(-sum((axis + 0.3) ** 2 for axis in axes) / 0.03)
    return (blob + 0.5j * other).to(torch.complex64)


def relative(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


@every
def test_trajectories_fit_an_operator(trajectory):
    assert trajectory.dtype == torch.float32
    assert trajectory.abs().max() <= math.pi + 1e-6
    assert trajectory.norm(dim=-1).max() > 0.9 * math.pi
    NonCartesianMRI(trajectory, (8,) * trajectory.shape[-1])


def test_spokes_pass_through_the_middle_and_end_at_pi():
    for spokes in (radial(5, 16), radial(5, 17), koosh_ball(5, 16)):
        assert not spokes[:, spokes.shape[1] // 2].any()
    for spokes in (radial(5, 16), koosh_ball(5, 16)):
        torch.testing.assert_close(spokes[:, 0].norm(dim=-1), torch.full((5,), math.pi))


def test_first_spoke_runs_along_x_and_the_second_a_golden_angle_further():
    spokes = radial(2, 16)
    assert not spokes[0, :, 0].any()
    assert torch.all(spokes[0].diff(dim=0)[:, 1] > 0)
    y, x = spokes[1, -1]
    assert math.degrees(math.atan2(y, x)) == pytest.approx(111.246, abs=1e-3)


def test_golden_spokes_are_spread_evenly_however_many():
    for spokes in (radial(13, 4), radial(34, 4)):
        angles = torch.atan2(spokes[:, -1, 0], spokes[:, -1, 1]) % math.pi
        gaps = torch.cat([angles, angles.min()[None] + math.pi]).sort().values.diff()
        assert gaps.max() / gaps.min() < 2.7  # three gaps at most, in golden ratio


def test_koosh_ball_covers_the_sphere_evenly():
    directions = torch.nn.functional.normalize(koosh_ball(2000, 2)[:, 0], dim=-1)
    spread = directions.T @ directions / 2000
    torch.testing.assert_close(spread, torch.eye(3) / 3, atol=5e-3, rtol=0)


def test_arms_of_a_fully_sampled_spiral_lie_one_step_apart():
    arms = spiral(8, 4000, N / 2 / 8)
    radius, angle = arms.norm(dim=-1), torch.atan2(arms[..., 0], arms[..., 1])
    crossings = torch.cat([r[1:][(a[1:] * a[:-1] < 0) & (a[1:].abs() < 1)] for r, a in zip(radius, angle, strict=True)])
    gaps = crossings[crossings > 0.05].sort().values.diff()
    torch.testing.assert_close(gaps, torch.full_like(gaps, 2 * math.pi / N), rtol=0.05, atol=0)
    steps = arms.diff(dim=1).norm(dim=-1)[:, 1000:]
    assert steps.max() / steps.min() < 1.05


def test_every_partition_holds_the_same_star():
    stack = stack_of_stars(3, 8, 4).reshape(4, 3, 8, 3)
    assert torch.equal(stack[..., 1:], radial(3, 8).expand(4, -1, -1, -1))
    assert not stack[2, ..., 0].any()
    assert torch.all(stack[..., 0] == stack[:, :1, :1, 0])


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: radial(0, 8), "spokes is 0"),
        (lambda: spiral(4, 8, -1.0), "turns is -1"),
        (lambda: stack_of_stars(3, 8, 0), "partitions is 0"),
        (lambda: koosh_ball(3, 0), "samples is 0"),
    ],
)
def test_numbers_must_be_positive(build, says):
    with pytest.raises(ValueError, match=says):
        build()


FULL = {
    "radial": radial(2 * N, 2 * N, golden=False),
    "golden radial": radial(89, 2 * N),
    "spiral": spiral(8, 400, N / 8),
}


@pytest.mark.parametrize("trajectory", FULL.values(), ids=FULL.keys())
def test_weighted_adjoint_inverts_full_sampling(trajectory):
    A, x = NonCartesianMRI(trajectory, (N, N)), phantom((N, N))
    weights = pipe_menon(trajectory, (N, N))
    assert torch.all(weights > 0)
    assert relative(A.adjoint(weights * A(x)), x) < 0.01


def test_weighted_adjoint_inverts_full_sampling_of_a_volume():
    trajectory = koosh_ball(800, 24)
    A, x = NonCartesianMRI(trajectory, (16, 16, 16)), phantom((16, 16, 16))
    assert relative(A.adjoint(pipe_menon(trajectory, A.in_shape, 5) * A(x)), x) < 0.03
    assert relative(A.adjoint(radial_density(trajectory, A.in_shape) * A(x)), x) < 0.1


def test_weights_of_spokes_from_geometry_invert_full_sampling():
    for name in ("radial", "golden radial"):
        A, x = NonCartesianMRI(FULL[name], (N, N)), phantom((N, N))
        assert relative(A.adjoint(radial_density(FULL[name], (N, N)) * A(x)), x) < 0.02


def test_cartesian_samples_have_weight_one():
    lines = 2 * math.pi / 8 * (torch.arange(8) - 4)
    grid = torch.stack(torch.meshgrid(lines, lines, indexing="ij"), -1)
    torch.testing.assert_close(pipe_menon(grid, (8, 8)), torch.ones(8, 8), atol=1e-4, rtol=0)


def test_weights_of_spokes_add_up_to_the_disc():
    cells = math.pi / 4 * N * N
    for spokes in (radial(50, 64), radial(50, 64)[:, 32:]):
        assert float(radial_density(spokes, (N, N)).sum()) == pytest.approx(cells, rel=0.05)


def test_weights_from_geometry_need_spokes():
    with pytest.raises(ValueError, match="use pipe_menon"):
        radial_density(spiral(4, 100, 3.0), (N, N))
    with pytest.raises(ValueError, match=r"shape \(4, 8, 3\), expected \(spokes, samples, 2\)"):
        radial_density(koosh_ball(4, 8), (N, N))
