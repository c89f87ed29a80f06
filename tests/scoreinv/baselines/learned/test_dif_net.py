import pytest
import torch
from toy_networks import data, scan, small_network

from scoreinv.baselines.learned import reconstruct
from scoreinv.baselines.learned.points import cell_centers, shadows


@pytest.fixture(params=["dif_net", "pixelnerf"])
def network(request):
    return small_network(request.param)


def test_repeated_views_change_nothing(network):
    # Neither the largest nor the mean of the same views twice is another.
    operator = scan(views=3)
    places = shadows(operator.geometry, cell_centers(operator.volume, (3, 3, 3)))[None]
    with torch.no_grad():
        maps = network.encode(data(operator)[None])
        once = network.at_points(maps, places)
        twice = network.at_points(maps.repeat(1, 2, 1, 1, 1), places.repeat(1, 2, 1, 1))
    torch.testing.assert_close(once, twice)


def test_gradient_to_the_projections_is_that_of_finite_differences(network):
    operator = scan(views=3, detector=(6, 7))
    network = network.double()
    places = shadows(operator.geometry, cell_centers(operator.volume, (3, 3, 3)))[None].double()

    def answer(y):
        return network.at_points(network.encode(y[None]), places)

    assert torch.autograd.gradcheck(answer, data(operator).double().requires_grad_(), fast_mode=True)


def test_one_ball_is_learnt_by_heart(network):
    operator = scan(views=4, detector=(8, 8), voxels=(5, 5, 5))
    points = cell_centers(operator.volume, (5, 5, 5))
    places = shadows(operator.geometry, points)[None]
    truth = (points.norm(dim=1) < 20).float()
    projections = operator.forward(truth.reshape(5, 5, 5))[None] / 10
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        loss = (network.at_points(network.encode(projections), places)[0] - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2 * float(truth.var())


def test_answers_lie_within_the_window(network):
    operator = scan()
    y = data(operator)
    for bias, edge in ((-9.0, 0.0), (9.0, 0.04)):
        network.answer.bias.data.fill_(bias)
        torch.testing.assert_close(reconstruct(network, operator, y), torch.full(operator.in_shape, edge))
