import json

import pytest
import torch
from toy_dice import data, scan

from scoreinv.baselines.deepsparse import TrainingScans, deepsparse, load_deepsparse, save_deepsparse
from scoreinv.baselines.deepsparse.storage import check_configuration


@pytest.fixture
def folder(network, tmp_path):
    operator = scan()
    network.trained_on = TrainingScans.of(operator.geometry, operator.volume, (6, 24))
    save_deepsparse(tmp_path / "net", network, "small", "# small\n")
    return tmp_path / "net"


def test_saved_network_answers_as_before(network, operator, folder):
    loaded = load_deepsparse(folder)
    assert loaded.trained_on == network.trained_on
    for name, value in network.state_dict().items():
        full = name.endswith(("codes", "running_var", "num_batches_tracked"))
        assert torch.equal(loaded.state_dict()[name], value if full else value.half().float()) or not full
    y = data(operator)
    torch.testing.assert_close(deepsparse(operator, y, loaded), deepsparse(operator, y, network), rtol=0.02, atol=4e-4)


def test_full_precision_is_exact(network, operator, tmp_path):
    network.denoise = False
    save_deepsparse(tmp_path, network, "small", "# small\n", half=False)
    loaded = load_deepsparse(tmp_path)
    assert not loaded.denoise
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_damaged_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"damaged \(its SHA-256"):
        load_deepsparse(folder)


def test_configuration_of_another_network_is_refused(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["network"]["decoder"] = 12
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit its weights") as caught:
        load_deepsparse(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "text", "says"), [("format", "2", "format 1"), ("kind", '"unet"', "no DeepSparse")])
def test_other_formats_are_refused(folder, name, text, says):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: json.loads(text)}))
    with pytest.raises(ValueError, match=says):
        load_deepsparse(folder)


def test_missing_files_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_deepsparse(folder)


def test_field_that_differs_is_named(network):
    check_configuration(network, network.configuration, "start")
    with pytest.raises(ValueError, match=r"start has lattice = 6, expected 8; set network\.lattice"):
        check_configuration(network, network.configuration | {"lattice": 8}, "start")
