import torch
from toy_networks import data, scan, small_network

from scoreinv.baselines import fdk
from scoreinv.baselines.learned import reconstruct


def test_without_a_correction_it_is_fdk_within_the_window():
    network, operator = small_network("fbpconvnet"), scan(views=8)
    torch.nn.init.zeros_(network.unet.answer.weight)
    torch.nn.init.zeros_(network.unet.answer.bias)
    y = data(operator)
    torch.testing.assert_close(reconstruct(network, operator, y), fdk(operator, y).clamp(0, 0.04))


def test_slices_are_independent():
    network, operator = small_network("fbpconvnet"), scan(views=8, voxels=(20, 10, 12))
    image = reconstruct(network, operator, data(operator))
    slices = fdk(operator, data(operator)) / 0.04
    with torch.no_grad():
        torch.testing.assert_close(network(slices[18:19])[0].clamp(0, 1) * 0.04, image[18], rtol=1e-4, atol=1e-6)


def test_a_constant_is_learnt():
    network = small_network("fbpconvnet").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    slices = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(25):
        loss = (network(slices) - 0.3).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 10
