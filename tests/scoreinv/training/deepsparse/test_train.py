import shutil
import sys

import numpy as np
import pytest
import torch
import yaml

from scoreinv.baselines.deepsparse import load_deepsparse
from scoreinv.config import load_training, resolve
from scoreinv.training import DeepSparseSettings, TrainSettings, train_deepsparse
from scoreinv.training.deepsparse.batch import draw_batch
from scoreinv.training.deepsparse.train import stage_loss, starting_network
from scoreinv.training.pair_source import PairSource
from scoreinv.training.slices import rng_of

SCAN = {"detector_shape": [16, 16], "pixel_size": [38.4, 38.4], "views": 20}
TINY = {
    "model": "deepsparse",
    "stage": "pretrain",
    "data": {
        "phantoms": {"number": 2, "shape": [16, 16, 16], "voxel_size": [25.6, 25.6, 25.6], "scan": SCAN},
        "validation": 1,
    },
    "network": {"channels": 4, "scales": 2, "decoder": 8, "lattice": 4, "codes": 16, "hidden": [8]},
    "views": [4, 6],
    "all_views": 8,
    "steps": 5,
    "points": 40,
    "batch": 2,
    "checkpoint_every": 3,
}


def settings(*overrides):
    return resolve(DeepSparseSettings, TINY, overrides)


def fit(out, *overrides):
    return train_deepsparse(settings(*overrides), out, progress=False)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    return out, fit(out)


@pytest.fixture(scope="module")
def batch_and_settings():
    chosen = settings()
    source = PairSource(chosen.data, chosen.seed)
    return draw_batch(source, rng_of(0, 0), chosen, starting_network(chosen)), chosen, source


class TestTrain:
    def test_writes_a_network_that_can_be_loaded(self, unbroken):
        out, network = unbroken
        loaded = load_deepsparse(out / "network")
        assert not loaded.denoise
        assert loaded.trained_on == network.trained_on
        assert (loaded.trained_on.views, loaded.trained_on.source_to_detector) == ((4, 6), 1200)
        assert loaded.trained_on.arc == pytest.approx(np.pi)
        card = (out / "network" / "README.md").read_text()
        assert "procedural phantoms of this package (2)" in card
        assert "| 6 | " in card

    def test_resumed_run_is_the_unbroken_run(self, unbroken, tmp_path, monkeypatch):
        _, network = unbroken
        module = sys.modules["scoreinv.training.deepsparse.train"]
        loss, calls = module.stage_loss, []

        def killed_at_the_fifth_step(*arguments):
            calls.append(1)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return loss(*arguments)

        monkeypatch.setattr(module, "stage_loss", killed_at_the_fifth_step)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path)
        monkeypatch.undo()
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
        assert equal(weights(network), weights(fit(tmp_path)))

    def test_other_settings_are_refused(self, unbroken, tmp_path):
        shutil.copytree(unbroken[0], tmp_path / "copy")
        with pytest.raises(ValueError, match=r"made with data\.phantoms\.scan\.photons = 100000\.0, this run has None"):
            fit(tmp_path / "copy", "data.phantoms.scan.photons=null")

    def test_second_step_moves_decoders_and_denoising_layers_alone(self, unbroken, tmp_path):
        start = unbroken[0] / "network"
        before = weights(load_deepsparse(start))
        network = fit(tmp_path, "stage=finetune2", f"start={start}", "views=[4, 4]", "steps=2")
        changed = {name.partition(".")[0] for name, value in weights(network).items() if not value.equal(before[name])}
        assert changed == {"decoders", "denoisers", "point_decoder"}
        assert load_deepsparse(tmp_path / "network").denoise

    def test_frozen_run_resumes_frozen(self, unbroken, tmp_path):
        overrides = ("stage=finetune2", f"start={unbroken[0] / 'network'}", "views=[4, 4]", "checkpoint_every=1")
        whole = fit(tmp_path / "whole", *overrides, "steps=3")
        short = fit(tmp_path / "short", *overrides, "steps=2")
        checkpoint = tmp_path / "short" / "checkpoint.pt"
        state = torch.load(checkpoint, weights_only=True)
        state["settings"]["steps"] = 3
        torch.save(state, checkpoint)
        again = fit(tmp_path / "short", *overrides, "steps=3")
        assert equal(weights(whole), weights(again))
        assert not equal(weights(short), weights(again))

    def test_start_of_another_configuration_is_refused(self, unbroken, tmp_path):
        with pytest.raises(ValueError, match=r"has decoder = 8, expected 12; set network\.decoder"):
            fit(tmp_path, "stage=finetune1", f"start={unbroken[0] / 'network'}", "network.decoder=12")


class TestStages:
    def test_dense_features_are_the_target_of_the_sparse(self, batch_and_settings):
        batch, chosen, _ = batch_and_settings
        network = starting_network(chosen)
        network.freeze_encoder()
        network.train()
        all_seen = type(batch)(*(getattr(batch, name) for name in batch.__dataclass_fields__))
        object.__setattr__(all_seen, "seen", torch.ones_like(batch.seen))
        for denoisers in network.denoisers:
            denoisers.requires_grad_(False)
        loss = stage_loss(network, all_seen, "finetune2")
        # Where sparse and dense are the same, what is left is what the untrained layers do to the target.
        maps = network.encode(batch.projections)
        dense, _ = network.quantise(network.lift(maps, batch.lattice))
        mended = network.denoised(dense)
        gap = torch.stack([(a - b).abs().mean() for a, b in zip(mended, dense, strict=True)]).mean()
        found = network.at_points(maps, network.decode(mended), batch.fractions, batch.places, all_seen.seen)
        torch.testing.assert_close(loss, (found - batch.truth).square().mean() + gap, rtol=1e-3, atol=1e-4)

    def test_every_weight_but_the_denoising_layers_learns_in_pretraining(self, batch_and_settings):
        batch, chosen, _ = batch_and_settings
        network = starting_network(chosen).train()
        stage_loss(network, batch, "pretrain").backward()
        still = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is None}
        assert still == {"denoisers"}

    @pytest.mark.slow
    def test_one_phantom_is_learnt_by_heart(self):
        chosen = settings(
            "data.phantoms.scan.views=48",
            "data.phantoms.number=1",
            "network={channels: 8, decoder: 32, lattice: 16, codes: 128}",
            "all_views=24",
            "views=[6, 24]",
            "batch=1",
            "points=10000",
        )
        source = PairSource(chosen.data, 0)
        network = starting_network(chosen).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
        losses = []
        for step in range(150):
            loss = stage_loss(network, draw_batch(source, rng_of(0, step), chosen, network), "pretrain")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert np.mean(losses[-10:]) < np.mean(losses[:5]) / 10


class TestBatch:
    def test_truth_is_the_attenuation_where_the_points_are(self, batch_and_settings):
        batch, chosen, source = batch_and_settings
        pairs = {int(k): source._phantom(1 + k) for k in range(2)}
        sizes = np.asarray(chosen.data.phantoms.shape)
        for fractions, truth in zip(batch.fractions, batch.truth, strict=True):
            index = ((fractions.double().numpy() + 1) / 2 * sizes - 0.5).round().astype(int)
            assert len({tuple(i) for i in (index % 4)}) == 1  # one sub-lattice
            assert len({tuple(i) for i in index}) == len(index)
            candidates = [(pair.attenuation[tuple(index.T)] / 0.04).clamp(0, 1) for pair in pairs.values()]
            assert any(torch.allclose(truth, values) for values in candidates)

    def test_few_views_are_seen_of_all(self, batch_and_settings):
        batch, _, _ = batch_and_settings
        assert batch.projections.shape == (2, 8, 16, 16)
        assert batch.lattice.shape == (2, 8, 64, 2)
        assert all(4 <= int(n) <= 6 for n in batch.seen.sum(1))
        assert all(seen[: int(seen.sum())].all() for seen in batch.seen)

    def test_same_generator_same_batch(self, batch_and_settings):
        batch, chosen, source = batch_and_settings
        again = draw_batch(source, rng_of(0, 0), chosen, starting_network(chosen))
        assert all(torch.equal(getattr(batch, name), getattr(again, name)) for name in batch.__dataclass_fields__)


class TestSettings:
    @pytest.mark.parametrize(
        ("override", "says"),
        [
            ("views=[4, 9]", "expected fewest <= most <= all_views, 8"),
            ("stage=finetune2", "set start to its folder"),
            ("data.phantoms.scan.views=7", "expected at least all_views, 8"),
        ],
    )
    def test_settings_that_cannot_be_are_refused(self, override, says):
        with pytest.raises(ValueError, match=says):
            settings(override)

    def test_model_names_the_settings(self, tmp_path):
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(TINY))
        assert isinstance(load_training(path), DeepSparseSettings)
        path.write_text(yaml.safe_dump({"data": {"phantoms": 1}, "phases": [{"steps": 1, "crop": 16, "batch": 1}]}))
        assert isinstance(load_training(path), TrainSettings)
        assert isinstance(load_training(path, ["model=score"]), TrainSettings)
        with pytest.raises(ValueError, match="model is 'unet', expected 'deepsparse' or 'score'"):
            load_training(path, ["model=unet"])

    @pytest.mark.parametrize("stage", ["pretrain", "finetune1", "finetune2"])
    def test_shipped_configurations_are_valid(self, stage):
        from pathlib import Path

        root = Path(__file__).parents[4]
        assert load_training(root / "configs" / "deepsparse" / f"{stage}.yaml").stage == stage
