import itertools
from dataclasses import replace

import pytest
import torch
from toys import random

from scoreinv.operators.neighbours import Neighbours, pair
from scoreinv.operators.relative_difference import RelativeDifference

EPSILON = 1e-2


def images(*shape, seed=0):
    """Activities from 1e-4 to 10."""
    return 10 ** (torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5 - 4)


def unequal(neighbours):
    """The same pairs, every one with a weight of its own, from 1e-4 to 10."""
    weights = (images(*pair(torch.empty(neighbours.shape), offset)[0].shape) for offset, _ in neighbours)
    return replace(neighbours, weights=tuple(weights))


PENALTIES = {
    "3D": RelativeDifference(Neighbours.around((3, 4, 5), (4.0, 2.0, 2.0)), EPSILON),
    "2D": RelativeDifference(Neighbours.around((6, 5)), EPSILON, gamma=1.0),
    "along z": RelativeDifference(Neighbours.along((5, 3, 2), 0), EPSILON, gamma=5.0),
    "anatomy": RelativeDifference(Neighbours.around((6, 5)).alike(random(6, 5), 3), EPSILON),
    "unequal weights": RelativeDifference(unequal(Neighbours.around((6, 5))), EPSILON),
}


@pytest.fixture(params=PENALTIES.values(), ids=PENALTIES.keys())
def penalty(request):
    return request.param


def test_value_is_the_sum_over_all_voxels_and_their_neighbours_halved():
    size, shape, gamma = (4.0, 2.0, 3.0), (3, 2, 4), 2.0
    x, total = images(*shape), 0.0
    for step in itertools.product((-1, 0, 1), repeat=3):
        distance = sum((k * s) ** 2 for k, s in zip(step, size, strict=True)) ** 0.5
        for voxel in itertools.product(*map(range, shape)):
            other = tuple(k + n for k, n in zip(voxel, step, strict=True))
            if distance and all(0 <= k < n for k, n in zip(other, shape, strict=True)):
                a, b = float(x[voxel]), float(x[other])
                total += 0.5 * size[-1] / distance * (a - b) ** 2 / (a + b + gamma * abs(a - b) + EPSILON)
    got = RelativeDifference(Neighbours.around(shape, size), EPSILON, gamma).value(x)
    assert float(got) == pytest.approx(total, rel=1e-12)


def test_gradient_is_that_of_the_value(penalty):
    x = images(*penalty.neighbours.shape).requires_grad_()
    (wanted,) = torch.autograd.grad(penalty.value(x), x)
    torch.testing.assert_close(penalty.gradient(x.detach()), wanted, rtol=1e-10, atol=1e-12)


def test_value_stays_below_its_parabola_everywhere(penalty):
    shape = penalty.neighbours.shape
    x, u = images(500, *shape), images(500, *shape, seed=1)
    u[::2] = x[::2] * (1 + 0.1 * random(250, *shape).clamp(-9, 9))  # near by as well
    step, axes = u - x, tuple(range(-len(shape), 0))
    parabola = penalty.value(x) + (penalty.gradient(x) * step + penalty.curvature(x) * step**2 / 2).sum(axes)
    assert bool((penalty.value(u) <= parabola).all())


def test_parabola_is_exact_where_equal_neighbours_part():
    penalty = RelativeDifference(Neighbours.along((2,), 0), 1e-9)
    x, t = torch.tensor([1.0, 1.0], dtype=torch.float64), torch.tensor([1e-4, -1e-4], dtype=torch.float64)
    parabola = (penalty.curvature(x) * t**2 / 2).sum()
    torch.testing.assert_close(penalty.value(x + t), parabola, rtol=1e-3, atol=0)


def test_batch_is_taken_image_by_image(penalty):
    x = images(3, *penalty.neighbours.shape)
    for function in (penalty.value, penalty.gradient, penalty.curvature):
        torch.testing.assert_close(function(x)[1], function(x[1]))


def test_scale_of_the_image_is_the_scale_of_the_penalty():
    neighbours = Neighbours.around((6, 5))
    x = images(6, 5)
    one, ten = (RelativeDifference(neighbours, scale * EPSILON).value(scale * x) for scale in (1, 10))
    torch.testing.assert_close(10 * one, ten)


def test_empty_image_is_finite_and_costs_nothing(penalty):
    x = torch.zeros(penalty.neighbours.shape)
    assert float(penalty.value(x)) == 0
    assert float(penalty.gradient(x).abs().max()) == 0
    assert bool(torch.isfinite(penalty.curvature(x)).all())


def test_bad_settings_are_refused():
    neighbours = Neighbours.along((2,), 0)
    for settings in ((0.0, 2.0), (1.0, 0.5), (float("nan"), 2.0)):
        with pytest.raises(ValueError, match="expected epsilon > 0 and gamma >= 1"):
            RelativeDifference(neighbours, *settings)
