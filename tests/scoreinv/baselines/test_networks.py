import json

import pytest
import torch
from toy_networks import SMALL, data, scan, small_network

from scoreinv.baselines.learned import TrainingScans
from scoreinv.baselines.networks import check_configuration, load_network, reconstruct, save_network


@pytest.fixture
def operator():
    return scan()


@pytest.fixture(params=SMALL)
def network(request, operator):
    network = small_network(request.param)
    network.trained_on = TrainingScans.of(operator.geometry, operator.volume, (6, 24))
    return network


@pytest.fixture
def folder(operator, tmp_path):
    save_network(tmp_path / "net", small_network(), "small", "# small\n")
    return tmp_path / "net"


def test_saved_network_answers_as_before(network, operator, tmp_path):
    save_network(tmp_path, network, "small", "# small\n")
    loaded = load_network(tmp_path)
    assert (type(loaded), loaded.trained_on) == (type(network), network.trained_on)
    assert loaded.configuration == json.loads(json.dumps(network.configuration))
    for name, value in network.state_dict().items():
        full = name.endswith(("codes", "running_var", "num_batches_tracked", "log_weights"))
        assert not full or torch.equal(loaded.state_dict()[name], value)
    y = data(operator)
    torch.testing.assert_close(
        reconstruct(loaded, operator, y), reconstruct(network, operator, y), rtol=0.02, atol=4e-4
    )


def test_full_precision_is_exact(network, tmp_path):
    save_network(tmp_path, network, "small", "# small\n", half=False)
    loaded = load_network(tmp_path)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_damaged_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"damaged \(its SHA-256"):
        load_network(folder)


def test_configuration_of_another_network_is_refused(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["network"]["decoder"] = 12
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit its weights") as caught:
        load_network(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "text", "says"), [("format", "1", "format 2"), ("kind", '"unet"', "kind = 'unet'")])
def test_other_formats_are_refused(folder, name, text, says):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: json.loads(text)}))
    with pytest.raises(ValueError, match=says):
        load_network(folder)


def test_missing_files_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_network(folder)


def test_unknown_name_lists_the_bundled():
    with pytest.raises(FileNotFoundError, match="no network 'nothing'; expected a folder of"):
        load_network("nothing")


def test_field_that_differs_is_named():
    network = small_network()
    check_configuration(network, "deepsparse", network.configuration, "start")
    with pytest.raises(ValueError, match=r"start has lattice = 6, expected 8; set network\.lattice"):
        check_configuration(network, "deepsparse", network.configuration | {"lattice": 8}, "start")
    with pytest.raises(ValueError, match=r"start has kind = deepsparse, expected dif_net"):
        check_configuration(network, "dif_net", {}, "start")
