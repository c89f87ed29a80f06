"""`scoreinv calibrate`: the whole way on tiny cases."""

import json
import shutil

import pytest
import torch
import yaml
from typer.testing import CliRunner

from scoreinv import cli
from scoreinv.config import ConfigError, load_calibration, resolve
from scoreinv.config.ct import CTSettings
from scoreinv.priors.storage import prior_folder
from scoreinv.report import report
from scoreinv.run import run
from scoreinv.uncertainty import Calibration


@pytest.fixture
def config(tmp_path):
    prior = tmp_path / "prior"
    shutil.copytree(prior_folder("ct-128"), prior)
    tree = {
        "name": "tiny",
        "run": {
            "methods": ["dds"],
            "input": {"phantom": {"shape": [1, 16, 16], "voxel_size": [24.0, 24.0, 24.0]}},
            "scan": {"views": 4},
            "sampling": {"prior": str(prior), "steps": 2, "samples": 3},
        },
        "calibration": 2,
        "test": 2,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def calibrate(config, out, *more):
    result = CliRunner().invoke(cli.app, ["calibrate", str(config), "--out", str(out), *more], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def saved_label(config, out, *overrides):
    run(resolve(CTSettings, yaml.safe_load(config.read_text())["run"], overrides), out, False, lambda line: None)
    record = json.loads((out / "dds" / "reconstruction.json").read_text())
    return record["spread"], record["calibration"]


def test_results_of_the_acquisition_are_labelled_calibrated_and_others_are_not(config, tmp_path):
    assert saved_label(config, tmp_path / "before") == ("uncalibrated", None)
    output = calibrate(config, tmp_path / "out")
    assert "before: 90 % intervals cover" in output
    found = Calibration.load(tmp_path / "out" / "calibration.json")
    assert found.cases == {"calibration": 2, "test": 2}
    assert (tmp_path / "out" / "coverage.png").stat().st_size > 5000
    with pytest.raises(ValueError, match=r"look at .*coverage\.png"):
        report(tmp_path / "out")
    label = saved_label(config, tmp_path / "same", "input.phantom.seed=3", "sampling.seed=5")
    assert label == ("calibrated", found.label())
    assert Calibration.load(tmp_path / "same" / "dds" / "calibration.json") == found
    for change in ("scan.views=5", "scan.photons=1000", "sampling.steps=3", "sampling.samples=2"):
        assert saved_label(config, tmp_path / "other", change) == ("uncalibrated", None)


def test_a_calibration_that_goes_on_equals_one_that_was_never_ended(config, tmp_path):
    calibrate(config, tmp_path / "out", "--set", "store=false")
    whole = (tmp_path / "out" / "calibration.json").read_bytes()
    shutil.rmtree(tmp_path / "out" / "samples" / "0002")
    kept = torch.tensor([path.stat().st_mtime_ns for path in sorted((tmp_path / "out" / "samples").glob("0000/*"))])
    calibrate(config, tmp_path / "out", "--set", "store=false")
    assert (tmp_path / "out" / "calibration.json").read_bytes() == whole
    again = torch.tensor([path.stat().st_mtime_ns for path in sorted((tmp_path / "out" / "samples").glob("0000/*"))])
    assert torch.equal(kept, again)
    assert not (tmp_path / "prior" / "calibration").exists()


def test_the_folder_of_the_package_is_left_alone_unless_it_is_asked_for(config, tmp_path, monkeypatch):
    monkeypatch.setattr("scoreinv.calibrate.BUNDLED", tmp_path)
    assert "It is in" in calibrate(config, tmp_path / "out")
    assert not (tmp_path / "prior" / "calibration").exists()
    assert "Later runs find it" in calibrate(config, tmp_path / "out", "--set", "store=true")
    assert len(list((tmp_path / "prior" / "calibration").iterdir())) == 1


def test_a_prior_that_cannot_be_written_beside_is_said_before_anything_is_computed(config, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "prior")
    with pytest.raises(PermissionError, match="prior cannot be written; expected a copy of the prior, or store: false"):
        calibrate(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.methods=[fdk]", "expected one sampler"),
        ("run.sampling.samples=1", "expected at least 2"),
        ("vary=[scan.seed, sampling.seed]", "have the same truth"),
    ],
)
def test_what_teaches_nothing_is_refused(config, tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        calibrate(config, tmp_path / "out", "--set", override)


def test_every_case_is_another_patient(config):
    settings, runs = load_calibration(config)
    assert len(runs) == settings.calibration + settings.test + 1
    assert len({each.input.phantom.seed for each in runs}) == len({each.scan.seed for each in runs}) == len(runs)


def test_unknown_modalities_are_refused(config):
    with pytest.raises(ConfigError, match="modality is 'x'"):
        load_calibration(config, ["run.modality=x"])
