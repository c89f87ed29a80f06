import base64
import shlex
import zlib

import numpy as np
import pytest
import torch
from toy_calibration import toy_calibration
from toy_run import SPACING, toy_run

from scoreinv.io import Image, write_image, write_json
from scoreinv.metrics import hfen, to_hu
from scoreinv.report.folder import read_run


def values(text, low, high, shape):
    levels = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return torch.from_numpy(low + (high - low) * levels.reshape(shape) / 255).float()


def test_image_error_and_spread_are_in_hounsfield_units(tmp_path):
    truth, images, spread = toy_run(tmp_path)
    tree = read_run(tmp_path)
    assert [layer["name"] for layer in tree["layers"]] == ["reference", "fdk", "dds"]
    assert tree["unit"] == "HU"
    dds, (low, high) = tree["layers"][2], tree["window"]
    shown = values(dds["image"], low, high, truth.shape)
    torch.testing.assert_close(shown, to_hu(images["dds"]).clamp(low, high), rtol=0, atol=0.51 * (high - low) / 255)
    error = values(dds["error"], -tree["error"], tree["error"], truth.shape)
    torch.testing.assert_close(error, torch.full(truth.shape, -50.0), rtol=0, atol=1.6)
    torch.testing.assert_close(
        values(dds["spread"], 0, tree["widest"], truth.shape), 50000 * spread, rtol=0, atol=tree["widest"] / 255
    )


def test_no_reference_no_error_and_one_sample_no_spread(tmp_path):
    truth, *_ = toy_run(tmp_path, reference=False)
    write_image(tmp_path / "dds" / "std.nii.gz", Image(torch.zeros_like(truth), SPACING))
    tree = read_run(tmp_path)
    assert [layer["name"] for layer in tree["layers"]] == ["fdk", "dds"]
    assert all(layer["error"] is None and layer["spread"] is None for layer in tree["layers"])
    assert "hfen" not in tree["metrics"]["fdk"]


@pytest.mark.parametrize(("modality", "dark", "unit"), [("cbct", False, "HU"), ("mri", False, ""), ("pet", True, "")])
def test_windows_are_those_of_the_modality(tmp_path, modality, dark, unit):
    toy_run(tmp_path, modality)
    tree = read_run(tmp_path)
    assert tree["dark_is_high"] is dark
    assert tree["unit"] == unit
    assert (tree["window"][0] == 0) is (modality != "cbct")


def test_measured_beside_what_the_run_measured(tmp_path):
    truth, images, _ = toy_run(tmp_path)
    row = read_run(tmp_path)["metrics"]["fdk"]
    assert row["psnr"] == 20.0
    assert row["hfen"] == pytest.approx(hfen(images["fdk"], truth), abs=1e-6)


def test_steps_of_several_groups_are_one(tmp_path):
    toy_run(tmp_path)
    step = {"index": 0, "sigma": 2.0, "inner_iterations": 4, "network": 1.0, "operator": 2.0, "rest": 3.0}
    steps = [step | {"misfit": [4.0, None]}, step | {"misfit": [8.0], "inner_iterations": 6}]
    write_json(tmp_path / "dds" / "reconstruction.json", {"spread": "uncalibrated", "steps": steps})
    tree = read_run(tmp_path)
    expected = {"sigma": 2.0, "misfit": 6.0, "inner": 5.0, "network": 2.0, "operator": 4.0, "rest": 6.0}
    assert tree["convergence"]["dds"] == [expected]
    assert tree["spread"] == {"dds": "std of the samples, uncalibrated"}


def test_a_calibrated_spread_says_what_its_intervals_are(tmp_path):
    toy_run(tmp_path)
    label = toy_calibration().label() | {"factor_90": 3.25}
    write_json(tmp_path / "dds" / "reconstruction.json", {"spread": "calibrated", "calibration": label, "steps": []})
    assert read_run(tmp_path)["spread"]["dds"].endswith("calibrated by 4 cases, 90 % intervals are +- 3.25 std")


def test_coverage_is_read_where_there_is_any(tmp_path):
    toy_run(tmp_path)
    assert read_run(tmp_path)["coverage"] == []
    toy_calibration().save(tmp_path / "dds" / "calibration.json")
    assert [plot["title"] for plot in read_run(tmp_path)["coverage"]] == ["dds", "dds, TARP"]


def test_the_command_survives_a_shell(tmp_path):
    folder = tmp_path / "two words; $x"
    toy_run(folder)
    words = shlex.split(read_run(folder)["command"])
    assert words == ["scoreinv", "run", f"{folder}/config.yaml", "--out", f"{folder}-again"]


def test_tilt_of_an_oblique_image_is_told(tmp_path):
    truth, *_ = toy_run(tmp_path)
    assert read_run(tmp_path)["oblique"] == 0
    turn = np.radians(12)
    direction = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    write_image(tmp_path / "reference.nii.gz", Image(truth, SPACING, direction=direction))
    assert read_run(tmp_path)["oblique"] == pytest.approx(12, abs=0.01)


def test_methods_do_not_reach_out_of_the_folder(tmp_path):
    toy_run(tmp_path / "run")
    (tmp_path / "fdk.nii.gz").write_bytes((tmp_path / "run" / "fdk.nii.gz").read_bytes())
    (tmp_path / "run" / "config.yaml").write_text("{name: x, modality: cbct, methods: [../fdk, dds]}")
    assert [layer["name"] for layer in read_run(tmp_path / "run")["layers"]] == ["reference", "dds"]


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("config.yaml", "[1, 2]", "expected a mapping"),
        ("config.yaml", "a: [", "not YAML"),
        ("config.yaml", "{modality: xray, methods: [dds]}", "modality"),
        ("metrics.json", "{", "not JSON"),
        ("dds/reconstruction.json", '{"steps": [{"index": 0}]}', "steps"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, word):
    toy_run(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=word):
        read_run(tmp_path)


def test_yaml_that_would_run_code_is_refused(tmp_path):
    toy_run(tmp_path)
    (tmp_path / "config.yaml").write_text("name: !!python/object/apply:os.getcwd []\nmethods: [dds]\n")
    with pytest.raises(ValueError, match=r"config\.yaml"):
        read_run(tmp_path)


def test_images_of_other_shapes_are_refused(tmp_path):
    truth, *_ = toy_run(tmp_path)
    write_image(tmp_path / "fdk.nii.gz", Image(truth[:3], SPACING))
    with pytest.raises(ValueError, match=r"fdk\.nii\.gz"):
        read_run(tmp_path)


@pytest.mark.parametrize(("methods", "named"), [("[dds]", "dds"), ("null", "none")])
def test_a_run_without_images_is_refused(tmp_path, methods, named):
    (tmp_path / "config.yaml").write_text(f"{{name: x, methods: {methods}}}")
    with pytest.raises(FileNotFoundError, match=named):
        read_run(tmp_path)
