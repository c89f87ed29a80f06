import pytest
import torch
from toy_networks import data, scan

from scoreinv.baselines.deepsparse import DiCE
from scoreinv.baselines.learned import reconstruct


def trainable(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_published_configuration_has_the_published_size():
    network = DiCE()
    assert trainable(network) == 6_970_091
    assert sum(b.numel() for name, b in network.named_buffers() if "codebook" in name) == 247_808


def test_tiny_configuration_is_tiny():
    assert trainable(DiCE(channels=8, decoder=32, lattice=16, codes=128)) == 856_583


def test_frozen_encoder_stays_as_it_was(network):
    network.freeze_encoder()
    network.train()
    frozen = ("stem", "encoder", "quantisers")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    maps = network.encode(torch.rand(2, 3, 16, 16))
    quantised, _ = network.quantise(network.lift(maps, 2 * torch.rand(2, 3, 6**3, 2) - 1))
    fractions = 2 * torch.rand(2, 50, 3) - 1
    answer = network.at_points(
        maps, network.decode(network.denoised(quantised)), fractions, 2 * torch.rand(2, 3, 50, 2) - 1
    )
    answer.square().mean().backward()
    optimizer.step()
    changed = {name.partition(".")[0] for name, value in network.state_dict().items() if not value.equal(before[name])}
    assert changed == {"denoisers", "decoders", "point_decoder"}
    assert not any(p.requires_grad for name, p in network.named_parameters() if name.startswith(frozen))


def test_hidden_views_change_nothing(network):
    generator = torch.Generator().manual_seed(2)
    views, places = torch.rand(1, 4, 16, 16, generator=generator), torch.rand(1, 4, 6**3, 2, generator=generator)
    seen = torch.tensor([[True, False, True, False]])
    some = network.lift(network.encode(views), places, seen)
    few = network.lift(network.encode(views[:, ::2]), places[:, ::2])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(some, few, strict=True))


def test_denoising_layers_are_used_when_they_are_to_be(network, operator):
    y = data(operator)
    whole = reconstruct(network, operator, y)
    network.configuration["denoise"] = False
    assert not torch.equal(reconstruct(network, operator, y), whole)


def test_more_views_than_it_ever_sees_are_refused(network):
    operator = scan(views=25)
    with pytest.raises(ValueError, match="deepsparse: 25 views, expected at most 24"):
        reconstruct(network, operator, data(operator))
