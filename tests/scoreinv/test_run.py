import json
import math
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy_tigre
import yaml
from matplotlib.image import imread
from toy_networks import small_network
from toys import UNET

import scoreinv.run as run_module
from scoreinv import baselines, load_prior
from scoreinv import metrics as metrics_module
from scoreinv.baselines import fdk, sart
from scoreinv.baselines.learned import Unrolled
from scoreinv.baselines.networks import load_network, save_network
from scoreinv.baselines.networks import reconstruct as reconstruct_learned
from scoreinv.cases import load_case
from scoreinv.cases.ct import phantom, simulate
from scoreinv.config import CTSettings, MRISettings, load_settings, resolve
from scoreinv.config.ct import DEMO, CTSampling, Scan
from scoreinv.io import Image, read_image, write_image
from scoreinv.priors import IntensityMap, NetworkPrior
from scoreinv.priors.architectures import build_network
from scoreinv.priors.storage import save_prior
from scoreinv.run import run, sample
from scoreinv.samplers import DDIM, METHODS, schedules
from scoreinv.samplers.guidance import DDS

TINY = {
    "name": "tiny",
    "input": {"phantom": {"shape": [4, 24, 24], "voxel_size": [12.0, 16.0, 16.0]}},
    "scan": {"views": 12},
    "methods": ["fdk", "sart", "dds"],
    "sampling": {"steps": 2, "samples": 2},
}


def silent(settings, out):
    return run(settings, out, progress=False, say=lambda line: None)


def files(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "tiny"
    lines = []
    metrics = run(resolve(CTSettings, TINY), out, progress=False, say=lines.append)
    return out, metrics, lines


def lifted_prior(tmp_path, spacing, axes):
    """What the record of a run says of its prior."""
    changes = [
        f"input.phantom.voxel_size={list(spacing)}",
        "methods=[dds]",
        f"sampling.axes={axes}",
        "sampling.samples=1",
    ]
    silent(resolve(CTSettings, TINY, changes), tmp_path)
    return json.loads((tmp_path / "dds" / "reconstruction.json").read_text())["config"]["prior"]


def test_results_lie_where_the_scan_lay(tmp_path):
    """A rotated and shifted input: voxel by voxel, its grid is that of every output."""
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    hu = torch.full((4, 16, 16), -1000.0)
    hu[:, 4:12, 4:12] = 0.0
    write_image(tmp_path / "scan.nii.gz", Image(hu, (3.0, 4.0, 4.0), (10.0, -20.0, 30.0), turn))
    changes = [f"input={{volume: {tmp_path / 'scan.nii.gz'}}}", "methods=[fdk, dds]", "sampling.samples=1"]
    silent(resolve(CTSettings, TINY, changes), tmp_path / "out")
    scan = read_image(tmp_path / "scan.nii.gz")
    for name in ("reference.nii.gz", "fdk.nii.gz", "dds.nii.gz", "dds/mean.nii.gz"):
        result = read_image(tmp_path / "out" / name)
        assert result.origin == pytest.approx(scan.origin, abs=1e-4)
        np.testing.assert_allclose(result.direction, scan.direction, atol=1e-6)


class TestAxes:
    @pytest.mark.parametrize(
        ("spacing", "lifted"), [((3.0, 3.0, 3.0), "PerpendicularPlanes"), ((12.0, 3.0, 3.0), "NetworkPrior")]
    )
    def test_auto_sees_coronal_slices_where_voxels_are_cubes(self, tmp_path, spacing, lifted):
        assert lifted_prior(tmp_path, spacing, "auto").startswith(lifted)

    def test_axes_asked_for_are_not_dropped_silently(self, tmp_path):
        with pytest.raises(ValueError, match="slices across axis 1 have pixels of 12 x 3 mm"):
            lifted_prior(tmp_path, (12.0, 3.0, 3.0), "[0,1]")


class TestRun:
    def test_writes_the_documented_files(self, finished):
        out, _, _ = finished
        assert files(out) == {
            "config.yaml",
            "metrics.json",
            "figure.png",
            "reference.nii.gz",
            "fdk.nii.gz",
            "sart.nii.gz",
            "dds.nii.gz",
            "dds",
        }
        assert {"mean.nii.gz", "std.nii.gz", "reconstruction.json"} <= files(out / "dds")

    def test_metrics_have_the_documented_form(self, finished):
        out, metrics, _ = finished
        stored = json.loads((out / "metrics.json").read_text())
        assert list(stored["methods"]) == list(metrics) == ["fdk", "sart", "dds"]
        for method, row in metrics.items():
            assert set(row) == {"psnr", "ssim", "vif", "seconds", "memory"} | (
                {"parameters"} if method == "dds" else set()
            )
            assert math.isnan(row["vif"])  # the slices are too small
            assert all(math.isfinite(value) for metric, value in row.items() if metric != "vif")
            assert stored["methods"][method] == row | {"vif": None}
        assert metrics["dds"]["parameters"] == sum(p.numel() for p in load_prior("ct-128").network.parameters())

    def test_images_keep_their_grid(self, finished):
        out, _, _ = finished
        for name in ("reference", "fdk", "sart", "dds"):
            image = read_image(out / f"{name}.nii.gz")
            assert image.data.shape == (4, 24, 24)
            assert image.voxel_size == pytest.approx((12, 16, 16))

    def test_figure_and_table_are_shown(self, finished):
        out, _, lines = finished
        assert imread(out / "figure.png").ndim == 3
        assert any("| fdk" in line for line in lines)
        assert str(out / "figure.png") in lines[-1]

    def test_saved_settings_run_again_with_the_same_metrics(self, finished, tmp_path):
        out, metrics, _ = finished
        again = silent(load_settings(CTSettings, out / "config.yaml"), tmp_path / "again")
        for method, row in metrics.items():
            assert again[method]["psnr"] == pytest.approx(row["psnr"], abs=1e-4), method
            assert again[method]["ssim"] == pytest.approx(row["ssim"], abs=1e-6), method
        assert (tmp_path / "again" / "config.yaml").read_text() == (out / "config.yaml").read_text()

    def test_failing_method_leaves_whole_files_only(self, tmp_path, monkeypatch):
        def fail(*arguments):
            raise RuntimeError("out of memory")

        monkeypatch.setattr(baselines, "sart", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            silent(resolve(CTSettings, TINY), tmp_path)
        assert files(tmp_path) == {"config.yaml", "metrics.json", "reference.nii.gz", "fdk.nii.gz"}
        assert set(json.loads((tmp_path / "metrics.json").read_text())["methods"]) == {"fdk"}

    def test_image_outlives_a_failing_metric(self, tmp_path, monkeypatch):
        monkeypatch.setattr(metrics_module, "compared", lambda *images: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            silent(resolve(CTSettings, TINY), tmp_path)
        assert read_image(tmp_path / "fdk.nii.gz").data.shape == (4, 24, 24)

    def test_tiny_slices_and_exact_images_have_metrics_that_are_json(self, tmp_path, monkeypatch):
        monkeypatch.setattr(baselines, "sart", lambda operator, measurements: 0.02 * torch.ones(operator.in_shape))
        write_image(tmp_path / "water.nii", torch.zeros(2, 8, 8), voxel_size=(4.0, 4.0, 4.0))
        tree = {"input": {"volume": str(tmp_path / "water.nii")}, "scan": {"views": 4}, "methods": ["sart"]}
        silent(resolve(CTSettings, tree), tmp_path / "out")
        row = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)["methods"]["sart"]
        assert (row["psnr"], row["ssim"]) == (None, None)

    def test_results_of_an_earlier_run_do_not_stay_beside_other_settings(self, finished, tmp_path):
        shutil.copytree(finished[0], tmp_path / "out")
        (tmp_path / "out" / "notes.txt").write_text("mine")
        (tmp_path / "out" / "report.html").write_text("of the earlier run")
        silent(resolve(CTSettings, TINY, ["methods=[cgls]"]), tmp_path / "out")
        assert files(tmp_path / "out") == {
            *("config.yaml", "metrics.json", "figure.png", "reference.nii.gz", "cgls.nii.gz", "notes.txt")
        }

    @pytest.mark.parametrize("methods", [["../other", "", ".", {}], None, 3])
    def test_a_folder_of_somebody_else_loses_nothing(self, tmp_path, methods):
        out = tmp_path / "out"
        others = [tmp_path / "other.nii.gz", tmp_path / "other" / "mean.nii.gz", out / "mean.nii.gz", out / "x.nii.gz"]
        for path in others:
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        (out / "config.yaml").write_text(yaml.safe_dump({"methods": methods}))
        silent(resolve(CTSettings, TINY, ["methods=[fdk]"]), out)
        assert all(path.read_text() == "mine" for path in others)

    def test_learned_methods_stand_beside_the_others(self, tmp_path):
        folder = tmp_path / "net"
        save_network(folder, small_network("fbpconvnet"), "small", "# small\n")
        settings = resolve(CTSettings, TINY, ["methods=[fdk, unet]", f"networks.unet={folder}"])
        metrics = silent(settings, tmp_path / "out")
        assert list(metrics) == ["fdk", "unet"]
        simulated = simulate(phantom(settings.input.phantom), settings.input.phantom.voxel_size, settings.scan)
        image = reconstruct_learned(load_network(folder), simulated.operator, simulated.measurements)
        assert torch.equal(read_image(tmp_path / "out" / "unet.nii.gz").data, image)
        silent(resolve(CTSettings, TINY, ["methods=[fdk]"]), tmp_path / "out")
        assert not (tmp_path / "out" / "unet.nii.gz").exists()

    def test_network_of_another_scanner_leaves_an_earlier_run_alone(self, finished, tmp_path):
        shutil.copytree(finished[0], tmp_path / "out")
        save_network(tmp_path / "net", Unrolled(complex=True, width=2, levels=1), "small", "# small\n")
        overrides = ["methods=[unrolled]", f"networks.unrolled={tmp_path / 'net'}"]
        with pytest.raises(ValueError, match=r"networks\.unrolled: unrolled: images of .* expected complex ones"):
            silent(resolve(CTSettings, TINY, overrides), tmp_path / "out")
        with pytest.raises(FileNotFoundError, match="no network"):
            silent(resolve(CTSettings, TINY, ["methods=[mine]", "networks.mine=nowhere"]), tmp_path / "out")
        assert files(tmp_path / "out") == files(finished[0])

    def test_unknown_prior_leaves_an_earlier_run_alone(self, finished, tmp_path):
        shutil.copytree(finished[0], tmp_path / "out")
        with pytest.raises(FileNotFoundError, match="no prior"):
            silent(resolve(CTSettings, TINY, ["sampling.prior=nobody"]), tmp_path / "out")
        assert files(tmp_path / "out") == files(finished[0])
        assert (tmp_path / "out" / "config.yaml").read_text() == (finished[0] / "config.yaml").read_text()

    def test_unreadable_input_leaves_an_earlier_run_alone(self, tmp_path):
        (tmp_path / "config.yaml").write_text("name: earlier\n")
        with pytest.raises(FileNotFoundError, match="no such file"):
            silent(resolve(CTSettings, {"input": {"volume": str(tmp_path / "none.nii.gz")}}), tmp_path)
        assert (tmp_path / "config.yaml").read_text() == "name: earlier\n"


def test_a_sampler_starts_from_the_image_of_another_method(tmp_path):
    methods = ["methods=[sart, dds, sart+dds]", "sampling.samples=1", "sampling.start_sigma=0.01"]
    metrics = silent(resolve(CTSettings, TINY, methods), tmp_path)
    assert {"sart+dds", "sart+dds.nii.gz"} <= files(tmp_path)
    assert metrics["sart+dds"]["seconds"] > metrics["sart"]["seconds"]
    assert metrics["sart+dds"]["memory"] >= metrics["sart"]["memory"]
    assert metrics["sart+dds"]["parameters"] == metrics["dds"]["parameters"]
    assert "parameters" not in metrics["sart"]
    images = {name: read_image(tmp_path / f"{name}.nii.gz").data for name in metrics}
    # With hardly any noise added, one step stays by the image it started from.
    assert (images["sart+dds"] - images["sart"]).norm() < 0.5 * (images["dds"] - images["sart"]).norm()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_leaves_an_earlier_run_alone(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    with pytest.raises(
        ValueError, match="device: cuda, but torch finds 0 GPUs; expected cpu, or a torch built for CUDA"
    ):
        silent(resolve(CTSettings, TINY, ["device=cuda"]), tmp_path / "run")
    assert files(tmp_path / "run") == files(finished[0])


def test_a_program_that_is_not_there_leaves_an_earlier_run_alone(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[0], tmp_path / "run")
    settings = resolve(CTSettings, TINY, ["methods=[fdk, tigre_fdk]"])
    monkeypatch.setitem(sys.modules, "tigre", None)
    with pytest.raises(ImportError, match="methods: tigre_fdk needs TIGRE, built from"):
        silent(settings, tmp_path / "run")
    toy_tigre.install(monkeypatch, gpus=())
    with pytest.raises(ValueError, match=r"methods: tigre_fdk needs an NVIDIA GPU.*fdk, sart or asd_pocs runs on"):
        silent(settings, tmp_path / "run")
    assert files(tmp_path / "run") == files(finished[0])


def test_classical_methods_take_options(tmp_path):
    settings = resolve(CTSettings, TINY, ["methods=[fdk, sart]", "options.sart.iterations=1"])
    silent(settings, tmp_path)
    case = load_case(settings)
    expected = {
        "fdk": fdk(case.operator, case.measurements),
        "sart": sart(case.operator, case.measurements, iterations=1),
    }
    for name, image in expected.items():
        torch.testing.assert_close(read_image(tmp_path / f"{name}.nii.gz").data, image, atol=1e-5, rtol=1e-4)


class TestSampling:
    """What is not set is the preset's own."""

    @pytest.fixture
    def asked(self, monkeypatch, tmp_path):
        case = simulate(torch.zeros(2, 8, 8), (16.0, 16.0, 16.0), Scan(views=3))
        prior = load_prior("ct-128")
        result = SimpleNamespace(save=lambda *where: None, mean=None)

        def call(method, init=None, **sampling):
            seen = {}
            monkeypatch.setattr(run_module, "prepare", lambda *data, **parts: seen.update(parts))
            monkeypatch.setattr(run_module, "sampled", lambda *posterior, **how: result)
            sample(method, case, prior, CTSampling(**sampling), tmp_path, False, init)
            return seen

        return call

    @pytest.mark.parametrize("method", ["dds", "dps", "mcg", "dds-2024", "pocs"])
    def test_nothing_set(self, asked, method):
        parts = asked(method)
        assert (parts["guidance"], parts["stepper"]) == (METHODS[method].guidance, METHODS[method].stepper)
        assert (parts["schedule"], parts["steps"]) == (None, 50)

    def test_a_hot_start_walks_down_from_its_own_level(self, asked):
        image = torch.zeros(2, 8, 8)
        parts = asked("fdk+dds", image, steps=24, sigma_max=1.0, start_sigma=0.3)
        whole = schedules.edm(24, 1.0, 0.01)
        assert parts["init"] is image
        assert parts["method"] == "dds"
        torch.testing.assert_close(parts["schedule"], torch.cat([torch.tensor([0.3]), whole[whole < 0.3]]).double())
        assert float(asked("fdk+dds", image)["schedule"][0]) == pytest.approx(0.2)

    def test_the_demo(self, asked):
        parts = asked("dds", **DEMO["sampling"])
        assert parts["guidance"] == DDS(iterations=20, tolerance=1e-2)
        assert parts["stepper"] == DDIM(1.0, "dds")
        torch.testing.assert_close(parts["schedule"], schedules.edm(24, 1.0, 0.01))

    def test_parts_that_have_no_such_setting_stay(self, asked):
        parts = asked("mcg", split="dds", iterations=3)
        assert (parts["guidance"], parts["stepper"]) == (METHODS["mcg"].guidance, METHODS["mcg"].stepper)
        assert asked("dds-2024", iterations=3)["guidance"] == DDS(3, gamma=400.0, keep_noise=True)


class TestMRI:
    @pytest.fixture
    def prior(self, tmp_path):
        """A folder: a network of complex images that can be told a reference, untrained."""
        arguments = UNET | {"in_channels": 3, "out_channels": 2}
        torch.manual_seed(0)
        settings = {"data_std": 0.25, "intensity": IntensityMap(percentile=99.5), "channels": 2, "multiple": 2}
        save_prior(tmp_path / "prior", NetworkPrior(build_network(arguments), **settings), arguments, "untrained")
        return tmp_path / "prior"

    def settings(self, prior, *overrides, **sections):
        tree = {
            "input": {"phantom": {"shape": [2, 32, 32], "voxel_size": [30.0, 7.0, 7.0]}},
            "scan": {"sampling": "poisson_disc", "acceleration": 2, "calibration": 12, "coils": 4},
            "coils": {"maps": "walsh"},
            "methods": ["zero_filled", "cg_sense", "dds"],
            "sampling": {"prior": str(prior), "steps": 2},
        }
        return resolve(MRISettings, tree | sections, overrides)

    def test_complex_images_become_magnitude_and_phase(self, prior, tmp_path):
        metrics = silent(self.settings(prior), tmp_path)
        assert {"reference.nii.gz", "reference_phase.nii.gz", "dds.nii.gz", "dds_phase.nii.gz"} <= files(tmp_path)
        assert {"psnr", "ssim", "vif", "seconds", "memory", "parameters"} == set(metrics["dds"])
        assert read_image(tmp_path / "dds" / "mean.nii.gz").voxel_size == pytest.approx((30.0, 7.0, 7.0))
        again = resolve(MRISettings, yaml.safe_load((tmp_path / "config.yaml").read_text()))
        assert again == self.settings(prior)
        record = json.loads((tmp_path / "dds" / "reconstruction.json").read_text())
        assert 0.3 < record["config"]["intensity"]["scale"] < 1.5

    def test_held_out_samples_are_compared_with_predictions(self, prior, tmp_path):
        metrics = silent(self.settings(prior, "input.hold_out=0.2", "methods=[zero_filled, cg_sense]"), tmp_path)
        assert 0 < metrics["cg_sense"]["held_out"] < metrics["zero_filled"]["held_out"] < 1.01

    def test_a_reference_changes_the_image_and_must_fit(self, prior, tmp_path):
        write_image(tmp_path / "t1.nii.gz", torch.rand(2, 32, 32), voxel_size=(30.0, 7.0, 7.0))
        write_image(tmp_path / "small.nii.gz", torch.rand(2, 16, 16), voxel_size=(30.0, 7.0, 7.0))
        only = ("methods=[dds]", "sampling.steps=1")
        silent(self.settings(prior, *only), tmp_path / "alone")
        silent(self.settings(prior, *only, f"sampling.reference={tmp_path / 't1.nii.gz'}"), tmp_path / "told")
        alone, told = (read_image(tmp_path / name / "dds.nii.gz").data for name in ("alone", "told"))
        assert float((alone - told).abs().max()) > 1e-4
        with pytest.raises(ValueError, match=r"reference: .*small.* expected that of the image, \(2, 32, 32\)"):
            silent(self.settings(prior, *only, f"sampling.reference={tmp_path / 'small.nii.gz'}"), tmp_path / "out")
