from pathlib import Path

import pytest
import yaml
from toy_training import training, tree

from scoreinv.config import load_training
from scoreinv.training import TrainSettings
from scoreinv.training.learned import MODELS

CONFIGS = Path(__file__).parents[4] / "configs"


@pytest.mark.parametrize(
    ("model", "override", "says"),
    [
        ("deepsparse", "views=[4, 9]", "expected at most all_views, 8"),
        ("deepsparse", "stage=finetune2", "set start to its folder"),
        ("deepsparse", "data.phantoms.scan.views=7", "expected at least all_views, 8"),
        ("dif_net", "views=[5, 4]", "expected fewest <= most"),
        ("fbpconvnet", "data.phantoms.scan.views=5", "expected at least the most of views, 6"),
        ("unrolled", "network.pool=max", "unknown key network.pool"),
    ],
)
def test_settings_that_cannot_be_are_refused(model, override, says):
    with pytest.raises(ValueError, match=says):
        training(model, override)


@pytest.mark.parametrize("model", MODELS)
def test_model_names_the_settings(tmp_path, model):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree(model)))
    assert type(load_training(path)) is MODELS[model]


def test_without_a_model_it_is_a_score_network(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({"data": {"phantoms": 1}, "phases": [{"steps": 1, "crop": 16, "batch": 1}]}))
    assert isinstance(load_training(path), TrainSettings)
    assert isinstance(load_training(path, ["model=score"]), TrainSettings)
    with pytest.raises(ValueError, match=r"model is 'unet', expected one of \['deepsparse', 'dif_net'"):
        load_training(path, ["model=unet"])


@pytest.mark.parametrize(
    "path",
    [
        *CONFIGS.glob("deepsparse/pretrain.yaml"),
        *CONFIGS.glob("deepsparse/fine*.yaml"),
        *CONFIGS.glob("learned/*.yaml"),
    ],
    ids=lambda path: path.stem,
)
def test_shipped_configurations_are_valid(path):
    assert load_training(path).steps > 0
