"""`scoreinv lesion`: the whole way on tiny cases."""

import json

import pytest
import torch
import yaml
from typer.testing import CliRunner

from scoreinv import cli
from scoreinv.config import load_lesion
from scoreinv.lesion import _score, lesion
from scoreinv.uncertainty import factor

CT = {
    "methods": ["cgls", "dds"],
    "input": {"phantom": {"shape": [1, 48, 48], "voxel_size": [8.0, 8.0, 8.0]}},
    "scan": {"views": 90, "photons": None},
    "sampling": {"prior": "ct-128", "steps": 4, "samples": 3},
}


def config(path, radius=16.0, contrast=500.0):
    phantom = CT["input"]["phantom"] | {"lesion": {"radius": radius, "contrast": contrast}}
    tree = {"name": "tiny", "patients": 2, "runs": {"ct": CT | {"input": {"phantom": phantom}}}}
    path.write_text(yaml.safe_dump(tree))
    return path


def study(path, out, *overrides):
    return lesion(*load_lesion(path, overrides), out, say=lambda line: None)


def test_scans_that_know_their_patients_find_every_lesion_and_invent_none(tmp_path):
    found = study(config(tmp_path / "config.yaml"), tmp_path / "out")
    for method in ("cgls", "dds"):
        row = found["ct"][method]
        assert (row["area"], row["found"], row["invented"]) == (1.0, 1.0, 0.0)
        assert row["recovered"] == pytest.approx(1, abs=0.25)
        assert len(row["present"]) == len(row["absent"]) == 2


def test_options_are_those_of_the_classical_method(tmp_path):
    path = config(tmp_path / "config.yaml")
    few = study(path, tmp_path / "out", "runs.ct.methods=[cgls]", "runs.ct.options={cgls: {iterations: 1}}")
    many = study(path, tmp_path / "out", "runs.ct.methods=[cgls]")
    assert few["ct"]["cgls"]["recovered"] < many["ct"]["cgls"]["recovered"] - 0.1


def test_a_study_that_goes_on_draws_nothing_again(tmp_path):
    path = config(tmp_path / "config.yaml")
    whole = study(path, tmp_path / "out", "runs.ct.methods=[dds]")
    stored = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "samples").rglob("*.safetensors")}
    assert study(path, tmp_path / "out", "runs.ct.methods=[dds]") == whole
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "samples").rglob("*.safetensors")} == stored


def test_patients_differ_and_pairs_differ_by_the_lesion_alone(tmp_path):
    _, runs = load_lesion(config(tmp_path / "config.yaml"))
    (present, absent), (other, _) = runs["ct"]
    assert present.input.phantom.lesion.present
    assert not absent.input.phantom.lesion.present
    without = absent.input.phantom.lesion.model_copy(update={"present": True})
    assert absent.input.phantom.model_copy(update={"lesion": without}) == present.input.phantom
    assert present.scan == absent.scan
    assert other.input.phantom.seed != present.input.phantom.seed


def test_the_command_writes_table_numbers_and_picture(tmp_path):
    path, out = config(tmp_path / "config.yaml"), tmp_path / "out"
    arguments = ["lesion", str(path), "--out", str(out), "--set", "runs.ct.methods=[cgls]"]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "| ct | cgls | 1.000 |" in result.output
    assert json.loads((out / "lesion.json").read_text())["ct"]["cgls"]["found"] == 1.0
    assert (out / "lesion.png").stat().st_size > 5000


def test_a_phantom_without_a_lesion_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"runs\.ct: no lesion in the phantom"):
        study(config(tmp_path / "config.yaml", contrast=0.0), tmp_path / "out")


@pytest.mark.parametrize("methods", ["[cgls, cgls+dds]", "[dds, dps]"])
def test_methods_that_no_score_is_known_of_are_refused(tmp_path, methods):
    with pytest.raises(ValueError, match=r"runs\.ct\.methods: .* expected baselines and at most one sampler"):
        study(config(tmp_path / "config.yaml"), tmp_path / "out", f"runs.ct.methods={methods}")
    assert not (tmp_path / "out").exists()


def test_a_score_is_the_probability_of_one_more_draw_above_half():
    values = torch.tensor([0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    # The end of an interval at level p leaves (1 - p) / 2 beyond it.
    half = float(values.mean()) - factor(0.8, 4) * float(values.std())
    assert _score(values - half + 0.5) == pytest.approx(0.9)
    assert _score(torch.tensor([0.7])) == pytest.approx(0.7)
