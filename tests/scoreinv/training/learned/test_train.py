import shutil

import numpy as np
import pytest
import torch
from toy_training import TINY, changed, fit, training, weights

from scoreinv.baselines.networks import load_network
from scoreinv.training.learned import MODELS
from scoreinv.training.learned.train import validate
from scoreinv.training.pair_source import PairSource


@pytest.fixture(scope="module", params=TINY)
def run(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    return request.param, out, fit(out, request.param)


def test_writes_a_network_that_can_be_loaded(run):
    model, out, network = run
    loaded = load_network(out / "network")
    assert (loaded.kind, loaded.configuration) == (model, network.configuration)
    assert loaded.trained_on == network.trained_on
    assert (loaded.trained_on.views, loaded.trained_on.source_to_detector) == ((4, 6), 1200)
    assert loaded.trained_on.arc == pytest.approx(np.pi)
    card = (out / "network" / "README.md").read_text()
    assert "procedural phantoms of this package (2)" in card
    assert "| views | 4 to 6 over 180 degrees |" in card
    assert "| 6 | " in card


def test_resumed_run_is_the_unbroken_run(run, tmp_path, monkeypatch):
    model, _, network = run
    loss, calls = MODELS[model].loss, []

    def killed_at_the_fourth_step(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(MODELS[model], "loss", killed_at_the_fourth_step)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, model)
    monkeypatch.undo()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not changed(weights(network), weights(fit(tmp_path, model)))


def test_other_settings_are_refused(run, tmp_path):
    shutil.copytree(run[1], tmp_path / "copy")
    with pytest.raises(ValueError, match=r"made with data\.phantoms\.scan\.photons = 100000\.0, this run has None"):
        fit(tmp_path / "copy", run[0], "data.phantoms.scan.photons=null")


def test_an_image_that_is_the_truth_is_perfect_within_the_window(monkeypatch):
    source = PairSource(training("dif_net").data, 0)
    pairs = source.validation()
    module = __import__("scoreinv.training.learned.train", fromlist=["reconstruct"])
    monkeypatch.setattr(module, "reconstruct", lambda *_: pairs[0].attenuation.clamp(max=0.04))
    assert validate(None, pairs, 5)[0] == np.inf
    assert np.isnan(validate(None, [], 5)).all()
