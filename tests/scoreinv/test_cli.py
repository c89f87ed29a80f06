import json

import pytest
import torch
import yaml
from toy_batch import RUN
from toy_batch import tree as batch_tree
from toy_run import toy_run
from toy_training import tree
from toys import unet

from scoreinv import cli
from scoreinv.baselines.networks import load_network
from scoreinv.samplers import Diverged, State


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `scoreinv ...`; (exit status, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["scoreinv", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capsys.readouterr()

    return call


def one_line(answer):
    status, _, err = answer
    assert status == 2
    assert err.startswith("scoreinv: ")
    assert err.count("\n") == 1
    return err


def test_info_lists_priors_methods_and_versions(command):
    status, out, _ = command("info")
    assert status == 0
    assert all(word in out for word in ("ct-128", "dds", "dps", "fdk", "torch", "cpu"))
    assert "None" not in out


def test_info_on_a_configuration_says_what_it_would_take_and_writes_nothing(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(RUN | {"name": "tiny"}))
    status, out, _ = command("info", "c.yaml", "--set", "methods=[fdk, sart]")
    assert status == 0
    assert "| tiny |" in out
    assert out.index("fdk 0.") < out.index("sart 0.")
    assert "nothing was written" in out
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_info_refuses_what_it_cannot_use(command, tmp_path):
    assert "--set scan.views=3: info sets values of a configuration" in one_line(
        command("info", "--set", "scan.views=3")
    )
    assert "none.yaml: no such file" in one_line(command("info", tmp_path / "none.yaml"))
    (tmp_path / "c.yaml").write_text("input: {volume: none.nii}\n")
    assert "none.nii: no such file" in one_line(command("info", tmp_path / "c.yaml"))


def test_help_lists_the_commands(command):
    status, out, _ = command("--help")
    assert status == 0
    assert all(name in out for name in ("demo", "run", "train", "report", "info"))


def test_typo_in_a_configuration_names_the_near_key(command, tmp_path):
    (tmp_path / "c.yaml").write_text("scan: {veiws: 3}\n")
    assert "unknown key scan.veiws; did you mean 'views'?" in one_line(command("run", tmp_path / "c.yaml"))


def test_typo_in_set_names_the_near_key(command):
    assert "did you mean 'views'?" in one_line(command("demo", "--set", "scan.veiws=3"))


def test_missing_configuration(command, tmp_path):
    assert "no such file, expected a YAML configuration" in one_line(command("run", tmp_path / "none.yaml"))
    assert "no such file" in one_line(command("train", tmp_path / "none.yaml"))


def test_missing_volume(command, tmp_path):
    line = one_line(command("demo", "--out", tmp_path / "out", "--set", f"input.volume={tmp_path / 'none.nii.gz'}"))
    assert "none.nii.gz" in line
    assert not (tmp_path / "out").exists()


def test_unknown_modality_is_refused(command):
    assert "no modality 'sonar'; expected one of ['cbct'" in one_line(command("demo", "sonar"))


def test_unknown_command_or_option_is_refused(command):
    for arguments in (["solve"], ["run"], ["info", "--nonsense"]):
        status, _, err = command(*arguments)
        assert status == 2
        assert "Traceback" not in err


def test_run_takes_set_and_out(command, tmp_path):
    (tmp_path / "c.yaml").write_text("name: tiny\nmethods: [fdk, sart]\n")
    status, out, err = command(
        *("run", tmp_path / "c.yaml", "--out", tmp_path / "out", "--set", "methods=[fdk]", "--set", "scan.views=4"),
        *("--set", "input.phantom={shape: [2, 16, 16], voxel_size: [24, 24, 24]}"),
    )
    assert status == 0, err
    assert "| fdk" in out
    assert list(json.loads((tmp_path / "out" / "metrics.json").read_text())["methods"]) == ["fdk"]


def test_report_names_its_page(command, tmp_path):
    toy_run(tmp_path / "run")
    status, out, err = command("report", tmp_path / "run", "--out", tmp_path / "pages")
    assert status == 0, err
    assert str(tmp_path / "pages" / "report.html") in out
    assert (tmp_path / "pages" / "report.html").is_file()
    assert "neither" in one_line(command("report", tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        FileNotFoundError("wrong"),
        PermissionError("wrong"),
        OSError("wrong"),
        ImportError("wrong"),
        NotImplementedError("wrong"),
        Diverged("wrong", State(None)),
        torch.OutOfMemoryError("wrong"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_the_user_did_wrong_is_one_line(command, monkeypatch, error):
    monkeypatch.setattr("scoreinv.info.describe", lambda: raised(error))
    assert one_line(command("info")) == "scoreinv: wrong\n"


@pytest.mark.parametrize("error", [TypeError("ours"), ZeroDivisionError("ours"), RuntimeError("ours")], ids=repr)
def test_what_we_did_wrong_keeps_its_traceback(command, monkeypatch, error):
    monkeypatch.setattr("scoreinv.info.describe", lambda: raised(error))
    with pytest.raises(type(error), match="ours"):
        command("info")


def test_debug_shows_where_an_error_comes_from(command, monkeypatch):
    monkeypatch.setattr("scoreinv.info.describe", lambda: raised(ValueError("wrong")))
    with pytest.raises(ValueError, match="wrong"):
        command("--debug", "info")
    assert one_line(command("info")) == "scoreinv: wrong\n"


@pytest.mark.parametrize("name", ["demo", "run", "train"])
def test_out_that_is_a_file_is_refused_at_once(command, tmp_path, name):
    (tmp_path / "taken").write_text("mine")
    training = "data: {phantoms: 1}\nphases: [{steps: 1, crop: 8, batch: 1}]\n"
    (tmp_path / "c.yaml").write_text(training if name == "train" else "")
    config = () if name == "demo" else (tmp_path / "c.yaml",)
    assert "taken is a file, expected a folder" in one_line(command(name, *config, "--out", tmp_path / "taken"))
    assert (tmp_path / "taken").read_text() == "mine"


def test_train_makes_the_network_that_the_model_names(command, tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree("fbpconvnet") | {"steps": 1}))
    status, out, _ = command("train", tmp_path / "c.yaml", "--out", tmp_path / "out")
    assert status == 0
    assert f"The network is in {tmp_path / 'out' / 'network'}" in out
    assert load_network(tmp_path / "out" / "network").kind == "fbpconvnet"


def test_folder_that_cannot_be_written_is_one_line(command, tmp_path):
    (tmp_path / "file").write_text("")
    set = ("--set", "methods=[fdk]", "--set", "input.phantom={shape: [2, 16, 16], voxel_size: [24, 24, 24]}")
    assert "file" in one_line(command("demo", "--out", tmp_path / "file" / "below", *set))


def test_interruption_ends_quietly(command, monkeypatch):
    monkeypatch.setattr("scoreinv.info.describe", lambda: raised(KeyboardInterrupt()))
    status, _, err = command("info")
    assert status == 130
    assert "Traceback" not in err


def raised(error):
    raise error


def test_a_checkpoint_is_imported(command, tmp_path):
    from scoreinv import load_prior

    unet().save_pretrained(tmp_path / "unet")
    (tmp_path / "scheduler").mkdir()
    scheduler = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "num_train_timesteps": 1000}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    options = ("--family", "diffusers", "--out", tmp_path / "prior", "--scale", 0.02, "--unit", "1/mm", "--air", -1)
    options += ("--voxel-size", 1, 2)
    status, out, _ = command("import-checkpoint", tmp_path, *options)
    assert status == 0
    assert f"is in {tmp_path / 'prior'}" in out.replace("\n", "")
    prior = load_prior(tmp_path / "prior")
    assert (prior.intensity.scale, prior.intensity.unit, prior.air) == (0.02, "1/mm", -1.0)
    assert prior.voxel_size == (1.0, 2.0)


def test_a_family_that_is_not_known_is_named(command, tmp_path):
    assert "family is 'edm'" in one_line(
        command("import-checkpoint", tmp_path, "--family", "edm", "--out", tmp_path / "prior")
    )


class TestBatch:
    @pytest.fixture
    def config(self, tmp_path):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(batch_tree(run=RUN | {"methods": ["fdk"]})))
        return tmp_path / "c.yaml"

    def test_status_is_0_when_every_case_is_complete_and_1_when_one_is_not(self, command, config, tmp_path):
        status, out, _ = command("batch", config, "--out", tmp_path / "out")
        assert status == 0
        assert "Of 3 cases: 3 complete" in out
        bad = "cases=[{name: a}, {name: bad, file: none.nii.gz}]"
        status, out, _ = command("batch", config, "--out", tmp_path / "out", "--set", bad)
        assert status == 1
        assert "none.nii.gz: no such file" in out

    def test_a_dry_run_writes_nothing(self, command, config, tmp_path):
        status, out, _ = command("batch", config, "--out", tmp_path / "out", "--dry-run", "--shard", "1/2")
        assert status == 0
        assert "| b    |" in out
        assert f"1 cases into {tmp_path / 'out'}" in out.replace("\n", " ")
        assert not (tmp_path / "out").exists()

    def test_a_dry_run_predicts_what_is_left(self, command, config, tmp_path):
        command("batch", config, "--out", tmp_path / "out", "--shard", "0/2")  # a and c
        status, out, _ = command("batch", config, "--out", tmp_path / "out", "--dry-run")
        assert status == 0
        assert "| b    |" in out
        assert "| a    |" not in out
        assert f"1 cases into {tmp_path / 'out'}, beside 2 finished ones" in out.replace("\n", " ")
        more = "run.methods=[fdk, sart]"
        _, out, _ = command("batch", config, "--out", tmp_path / "out", "--dry-run", "--set", more)
        assert "3 cases into" in out

    def test_what_cannot_be_a_batch_is_one_line(self, command, config, tmp_path):
        assert "expected i/n" in one_line(command("batch", config, "--shard", "2/2"))
        assert "finds no file" in one_line(command("batch", config, "--set", "cases=[{file: 'none/*.h5'}]"))
        (tmp_path / "file").write_text("")
        assert "file" in one_line(command("batch", config, "--out", tmp_path / "file" / "below"))
        assert "is a file, expected a folder" in one_line(command("batch", config, "--out", tmp_path / "file"))
