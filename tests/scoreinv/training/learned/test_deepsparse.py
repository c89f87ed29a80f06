import numpy as np
import pytest
import torch
from toy_training import changed, fit, training, weights

from scoreinv.baselines.learned import reconstruct
from scoreinv.baselines.networks import load_network, save_network
from scoreinv.operators import ConeBeamCT
from scoreinv.training.learned import MODELS
from scoreinv.training.learned.deepsparse import Batch, draw_batch, stage_loss
from scoreinv.training.pair_source import PairSource
from scoreinv.training.slices import rng_of


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Folder of a network that has not learnt anything yet."""
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("start")
    save_network(out, training("deepsparse").first_network(), "start", "", half=False)
    return out


@pytest.fixture(scope="module")
def drawn():
    chosen = training("deepsparse")
    source = PairSource(chosen.data, chosen.seed)
    return draw_batch(source, rng_of(0, 0), chosen, chosen.first_network()), chosen, source


def second_step(start):
    return "stage=finetune2", f"start={start}", "views=[4, 4]"


def test_second_step_moves_decoders_and_denoising_layers_alone(start, tmp_path):
    network = fit(tmp_path, "deepsparse", *second_step(start))
    assert changed(weights(load_network(start)), weights(network)) == {"decoders", "denoisers", "point_decoder"}
    assert load_network(tmp_path / "network").configuration["denoise"]


def test_frozen_run_resumes_frozen(start, tmp_path, monkeypatch):
    whole = fit(tmp_path / "whole", "deepsparse", *second_step(start))
    loss, calls = MODELS["deepsparse"].loss, []

    def killed_at_the_third_step(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(MODELS["deepsparse"], "loss", killed_at_the_third_step)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", "deepsparse", *second_step(start))
    monkeypatch.undo()
    assert not changed(weights(whole), weights(fit(tmp_path / "parts", "deepsparse", *second_step(start))))


def test_first_step_moves_everything_but_the_denoising_layers(start, tmp_path):
    network = fit(tmp_path, "deepsparse", "stage=finetune1", f"start={start}", "views=[4, 4]")
    everything = {"stem", "encoder", "quantisers", "decoders", "point_decoder"}
    assert changed(weights(load_network(start)), weights(network)) == everything


def test_start_of_another_configuration_is_refused(start, tmp_path):
    with pytest.raises(ValueError, match=r"has decoder = 8, expected 12; set network\.decoder"):
        fit(tmp_path, "deepsparse", "stage=finetune1", f"start={start}", "network.decoder=12")


def test_dense_features_are_the_target_of_the_sparse(drawn):
    batch, chosen, _ = drawn
    network = chosen.first_network()
    network.freeze_encoder()
    network.train()
    all_seen = Batch(**{**batch.__dict__, "seen": torch.ones_like(batch.seen)})
    loss = stage_loss(network, all_seen, "finetune2")
    # Where sparse and dense are the same, what is left is what the untrained layers do to the target.
    maps = network.encode(batch.projections)
    dense, _ = network.quantise(network.lift(maps, batch.lattice))
    mended = network.denoised(dense)
    gap = torch.stack([(a - b).abs().mean() for a, b in zip(mended, dense, strict=True)]).mean()
    found = network.at_points(maps, network.decode(mended), batch.fractions, batch.places, all_seen.seen)
    torch.testing.assert_close(loss, (found - batch.truth).square().mean() + gap, rtol=1e-3, atol=1e-4)


def test_few_views_are_seen_of_all(drawn):
    batch, _, _ = drawn
    assert batch.projections.shape == (2, 8, 16, 16)
    assert batch.lattice.shape == (2, 8, 64, 2)
    assert all(4 <= int(n) <= 6 for n in batch.seen.sum(1))
    assert all(seen[: int(seen.sum())].all() for seen in batch.seen)


def test_same_generator_same_batch(drawn):
    batch, chosen, source = drawn
    again = draw_batch(source, rng_of(0, 0), chosen, chosen.first_network())
    assert all(torch.equal(getattr(batch, name), getattr(again, name)) for name in batch.__dataclass_fields__)


@pytest.mark.slow
def test_one_phantom_begins_to_be_learnt_by_heart():
    chosen = training(
        "deepsparse",
        "data.phantoms.scan.views=48",
        "data.phantoms.number=1",
        "network={channels: 8, decoder: 32, lattice: 16, codes: 128}",
        "all_views=24",
        "views=[6, 24]",
        "batch=1",
        "points=10000",
    )
    source = PairSource(chosen.data, 0)
    torch.manual_seed(0)
    network = chosen.first_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
    # Steps of one volume are noisy: without an end to the rate, so are the weights after the last of them.
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 150)
    losses = []
    for step in range(150):
        loss = chosen.loss(network, source, rng_of(0, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) / 4
    pair = source._phantom(1)
    geometry, projections = pair.views(np.arange(2, 48, 4))
    image = reconstruct(network, ConeBeamCT(geometry, pair.grid), projections)
    # Around a third of the variance is left, more or less from run to run; it goes on falling.
    assert float((image - pair.attenuation).square().mean()) < 0.7 * float(pair.attenuation.var())
