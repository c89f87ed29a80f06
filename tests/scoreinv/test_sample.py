"""`scoreinv sample`: the whole way on tiny cases."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from scoreinv import cli
from scoreinv.config import ConfigError, load_sample
from scoreinv.io import Image, read_image, write_image
from scoreinv.report import report
from scoreinv.run import run
from scoreinv.sample import sample

TREE = {
    "name": "tiny",
    "run": {
        "methods": ["dds"],
        "input": {"phantom": {"shape": [2, 16, 16], "voxel_size": [24.0, 24.0, 24.0]}},
        "scan": {"views": 4},
        "sampling": {"prior": "ct-128", "steps": 2, "samples": 5},
    },
    "quantiles": [0.25, 0.5],
    "thresholds": [-500.0],
    "regions": {"middle": {"centre": [0, 0, 0], "radius": 60}, "front": {"centre": [0, 100, 0], "radius": 40}},
    "contrasts": {"both": ["middle", "front"]},
    "null_space": 5,
}
STORED = {"mean", "std", "width", "quantile_0.25", "quantile_0.5", "above_-500"}
STORED |= {"measured_std", "unmeasured_std", "contradiction", "hallucination"}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return path


def sampled(config, out, *overrides):
    return sample(*load_sample(config, overrides), out, progress=False, say=lambda line: None)


def stored(out):
    return {path.name.removesuffix(".nii.gz"): read_image(path).data for path in (out / "dds").glob("*.nii.gz")}


def drawn(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "samples").iterdir()}


def test_maps_are_those_of_the_samples(config, tmp_path):
    statistics = sampled(config, tmp_path / "out", "null_space=200")
    samples = torch.stack([load_file(path)["image"] for path in sorted((tmp_path / "out" / "samples").iterdir())])
    found = stored(tmp_path / "out")
    assert set(found) == STORED
    torch.testing.assert_close(found["mean"], samples.mean(0))
    torch.testing.assert_close(found["std"], samples.std(0))
    torch.testing.assert_close(found["width"], 2 * statistics["factor"] * samples.std(0))
    low = np.quantile(samples.numpy(), 0.25, axis=0, method="weibull")
    torch.testing.assert_close(found["quantile_0.25"], torch.from_numpy(low).float())
    torch.testing.assert_close(found["above_-500"], (samples > 0.01).float().mean(0))
    # The two parts are orthogonal, as nearly as conjugate gradients end.
    parts = [found[name].double().square().sum() for name in ("measured_std", "unmeasured_std")]
    assert float(sum(parts)) == pytest.approx(float(samples.double().var(0).sum()), rel=0.03)
    assert statistics["measured_share"] == pytest.approx(float(parts[0] / sum(parts)), rel=1e-4)


def test_regions_are_read_in_the_unit_of_the_modality(config, tmp_path):
    statistics = sampled(config, tmp_path / "out")
    assert statistics["unit"] == "HU"
    mean = 1000 * (stored(tmp_path / "out")["mean"] / 0.02 - 1)
    at = (torch.arange(16) - 7.5) * 24
    inside = (at[:, None] ** 2 + at[None] ** 2 + 12**2) <= 60**2
    assert statistics["regions"]["middle"]["mean"] == pytest.approx(float(mean[:, inside].mean()), rel=1e-3)
    middle, front = (statistics["regions"][name] for name in ("middle", "front"))
    both = statistics["contrasts"]["both"]
    assert both["mean"] == pytest.approx(middle["mean"] - front["mean"], rel=1e-4)
    assert both["low"] < both["mean"] < both["high"]
    assert len(statistics["chi_square"]) == 5


@pytest.mark.parametrize("keep", ["true", "false"])
def test_samples_added_later_make_what_all_at_once_would_have_made(config, tmp_path, keep):
    asked = ["quantiles=[]", f"keep={keep}", "run.sampling.max_slices=4"]
    whole = sampled(config, tmp_path / "whole", *asked)
    out = tmp_path / "out"
    sampled(config, out, *asked, "run.sampling.samples=3")
    before = drawn(out) if keep == "true" else {}
    assert sampled(config, out, *asked) == whole
    assert all(torch.equal(value, stored(tmp_path / "whole")[name]) for name, value in stored(out).items())
    assert (out / "samples").exists() == (keep == "true")
    if keep == "true":
        assert before.items() <= drawn(out).items()


def test_kept_samples_answer_what_is_asked_later(config, tmp_path):
    out = tmp_path / "out"
    sampled(config, out, "thresholds=[]", "null_space=null")
    before = drawn(out)
    assert "above_0" not in stored(out)
    sampled(config, out, "thresholds=[0.0]", "quantiles=[]")
    assert drawn(out) == before
    assert {"above_0", "hallucination"} <= set(stored(out))
    assert "quantile_0.5" not in stored(out)


def test_samples_that_were_forgotten_are_drawn_again_for_what_needs_them(config, tmp_path):
    out = tmp_path / "out"
    sampled(config, out, "quantiles=[]", "keep=false")
    assert sampled(config, out) == sampled(config, tmp_path / "whole")
    assert all(torch.equal(value, stored(tmp_path / "whole")[name]) for name, value in stored(out).items())
    (out / "samples" / "000002.safetensors").unlink()
    sampled(config, out)
    assert len(drawn(out)) == 5


def test_results_of_another_run_do_not_stay_beside_samples_nor_the_other_way_round(config, tmp_path):
    out, (_, settings) = tmp_path / "out", load_sample(config, ["run.methods=[fdk, dds]"])
    run(settings, out, False, lambda line: None)
    sampled(config, out)
    assert {path.name for path in out.iterdir()} == {
        *("config.yaml", "metrics.json", "tally.pt", "samples", "reference.nii.gz", "dds.nii.gz", "dds")
    }
    run(settings, out, False, lambda line: None)
    assert set(stored(out)) == {"mean", "std", *(f"sample_{k:03d}" for k in range(5))}
    assert not (out / "dds" / "statistics.json").exists()


def test_another_scan_is_sampled_anew(config, tmp_path):
    out = tmp_path / "out"
    first = sampled(config, out)["chi_square"]
    assert sampled(config, out, "run.scan.seed=77")["chi_square"] != first


def test_complex_images_are_read_by_their_magnitudes(config, tmp_path):
    mri = {
        "modality": "mri",
        "methods": ["dds"],
        "input": {"phantom": {"shape": [1, 32, 32], "voxel_size": [5.0, 6.0, 6.0]}},
        "scan": {"coils": 2},
        "sampling": {"prior": "mr-128", "steps": 2, "samples": 5},
    }
    config.write_text(yaml.safe_dump(TREE | {"run": mri, "thresholds": [0.0]}))
    sampled(config, tmp_path / "out")
    found = stored(tmp_path / "out")
    assert not found["quantile_0.5"].is_complex()
    assert float(found["above_0"].mean()) > 0.9


def test_a_mask_picks_its_region(config, tmp_path):
    data = torch.zeros(2, 16, 16)
    data[:, 4:8, 4:8] = 2
    write_image(tmp_path / "mask.nii.gz", Image(data, (24.0, 24.0, 24.0), (-12.0, -180.0, -180.0)))
    asked = f"regions={{middle: {{file: {tmp_path / 'mask.nii.gz'}, label: 2}}}}"
    statistics = sampled(config, tmp_path / "out", asked, "contrasts={}")
    mean = 1000 * (stored(tmp_path / "out")["mean"][:, 4:8, 4:8].mean() / 0.02 - 1)
    assert statistics["regions"]["middle"]["mean"] == pytest.approx(float(mean), rel=1e-3)


def test_a_mask_that_lies_elsewhere_is_refused(config, tmp_path):
    write_image(tmp_path / "mask.nii.gz", Image(torch.ones(2, 16, 16), (24.0, 24.0, 24.0)))
    with pytest.raises(ValueError, match=r"regions\.middle\.file: .* from \(0\.0, 0\.0, 0\.0\) .* expected"):
        sampled(config, tmp_path / "out", f"regions={{middle: {{file: {tmp_path / 'mask.nii.gz'}}}}}", "contrasts={}")


def test_methods_that_hardly_spread_are_told(config, tmp_path, caplog):
    sampled(config, tmp_path / "out", "run.methods=[dds-mean]", "null_space=null")
    assert "dds-mean comes near the mean of the posterior and hardly spreads" in caplog.text


def test_the_command_says_what_was_found_and_the_page_shows_it(config, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(cli.app, ["sample", str(config), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "5 samples" in result.output
    assert "intervals are uncalibrated" in result.output
    assert "90% within" in result.output
    assert (out / "dds" / "maps.png").stat().st_size > 10_000
    assert json.loads((out / "dds" / "statistics.json").read_text())["spread"] == "uncalibrated"
    page = report(out).read_text()
    assert f"scoreinv sample {out}/config.yaml" in page
    assert "data:image/png;base64," in page
    assert '"middle","' in page


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["keep=false"], "samples that are not kept"),
        (["contrasts={both: [middle, nowhere]}"], "no region 'nowhere'"),
        (["regions={a: {radius: 3}}", "contrasts={}"], "either the file of a mask, or centre and radius"),
        (["run.modality=sonar"], "modality is 'sonar'"),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(config, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_sample(config, overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run.methods=[fdk]"], "expected one sampler"),
        (["run.sampling.samples=1"], "expected at least 2"),
        (
            ["regions.middle.centre=[0, 5000, 0]"],
            r"regions\.middle: no voxel lies .* from \(-12\.0, -180\.0",
        ),
        (["quantiles=[0.01]"], "expected at least 99 samples"),
    ],
)
def test_what_samples_do_not_know_is_refused_before_any_is_drawn(config, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        sampled(config, tmp_path / "out", *overrides)
    assert not (tmp_path / "out").exists()


def test_events_are_refused_before_any_sample_is_drawn(config, tmp_path, monkeypatch):
    monkeypatch.setattr("scoreinv.operators.LinearOperator.partial", True)
    with pytest.raises(ValueError, match="knows of events but not of the lines without any"):
        sampled(config, tmp_path / "out", "null_space=null")
    assert not (tmp_path / "out").exists()
