import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from toy_batch import CASES, RUN, settings_and_cases, tree

import scoreinv.batch.case as case_module
import scoreinv.run as run_module
from scoreinv import samples as samples_module
from scoreinv.batch import Share, batch
from scoreinv.batch.folders import alone
from scoreinv.io import read_image, write_image
from scoreinv.samples import SampleStore


def ran(out, *overrides, shard=None, **changes):
    """Outcomes by name, and what was said."""
    lines = []
    settings, cases = settings_and_cases(*overrides, **changes)
    outcomes = batch(settings, cases, out, shard, say=lines.append)
    return {outcome.name: outcome for outcome in outcomes}, "\n".join(lines)


def contents(folder):
    """Images, and metrics but for seconds."""
    images = {str(path.relative_to(folder)): read_image(path).data for path in sorted(folder.rglob("*.nii.gz"))}
    metrics = json.loads((folder / "metrics.json").read_text())["methods"]
    return images, {name: row["psnr"] for name, row in metrics.items()}


def equal(one, other):
    (images, metrics), (others, other_metrics) = contents(one), contents(other)
    same = all(torch.equal(image, others[name]) for name, image in images.items())
    return same and images.keys() == others.keys() and metrics == other_metrics


def events(out, *kinds):
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if not kinds or line["event"] in kinds]


def summary(out):
    return json.loads((out / "summary.json").read_text())


def half_written(out):
    return [path for path in out.rglob(".*") if path.is_file() and not path.name.endswith("lock")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Never interrupted."""
    out = tmp_path_factory.mktemp("batch") / "out"
    return out, *ran(out)


class TestFolder:
    def test_of_a_batch(self, whole):
        out, outcomes, said = whole
        found = {path.name for path in out.iterdir()}
        assert found == {".work", "a", "b", "c", "config.yaml", "events.jsonl", "summary.json"}
        assert {outcome.status for outcome in outcomes.values()} == {"complete"}
        assert "| a    | complete |" in said
        assert "Of 3 cases: 3 complete" in said
        assert summary(out)["counts"] == {"complete": 3, "failed": 0, "pending": 0}
        assert summary(out)["cases"]["b"]["metrics"]["dds"]["psnr"] == outcomes["b"].metrics["dds"]["psnr"]

    def test_of_a_case_says_what_it_was_made_from(self, whole):
        out, *_ = whole
        status = json.loads((out / "b" / "status.json").read_text())
        assert status["status"] == "complete"
        assert status["seeds"] == {"sampling": 0, "scan": 1}
        assert set(status["weights"]) == {"ct-128"}
        assert set(status["versions"]) == {"scoreinv", "torch"}
        assert set(status["seconds"]) == {"now", "fdk", "dds"}
        assert yaml.safe_load((out / "b" / "config.yaml").read_text())["input"]["phantom"]["seed"] == 1
        assert (out / "b" / "dds" / "sample_002.nii.gz").is_file()

    def test_events_tell_the_course(self, whole):
        out, *_ = whole
        assert [event["event"] for event in events(out)][:3] == ["started", "case_started", "image"]
        assert [event["case"] for event in events(out, "case_complete")] == ["a", "b", "c"]
        assert len(events(out, "image")) == 3 * (1 + 3)
        assert events(out)[-1]["event"] == "finished"

    def test_settings_run_again_with_nothing_to_do(self, whole, tmp_path):
        shutil.copytree(whole[0], tmp_path / "out")
        tree = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "a").rglob("*")}
        outcomes, _ = ran(tmp_path / "out", **tree)
        assert all(outcome.status == "complete" and outcome.seconds == 0 for outcome in outcomes.values())
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "a").rglob("*")}

    def test_bars_are_silent_where_nobody_looks(self, tmp_path, capfd):
        ran(tmp_path, "run.methods=[dds]", "cases=[{name: a}]")
        assert "case" not in capfd.readouterr().err

    def test_bars_are_shown_on_a_terminal(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        ran(tmp_path, "run.methods=[fdk]", "cases=[{name: a}]")
        shown = capsys.readouterr().err
        assert "cases:" in shown
        assert "a: " in shown

    def test_outputs_are_those_asked_for(self, tmp_path):
        ran(tmp_path, "outputs={samples: false, figure: true}", "cases=[{name: a}]")
        assert (tmp_path / "a" / "figure.png").is_file()
        assert {path.name for path in (tmp_path / "a" / "dds").iterdir()} == {
            *("mean.nii.gz", "std.nii.gz", "reconstruction.json")
        }
        assert not (tmp_path / ".work" / "a").exists()


class TestResume:
    def interrupted(self, monkeypatch, out, after, error, **changes):
        """A batch whose process ends after so many images."""
        written = SampleStore.write
        count = []

        def write(store, number, image, steps=()):
            written(store, number, image, steps)
            count.append(number)
            if len(count) == after:
                raise error

        with monkeypatch.context() as patch:
            patch.setattr(SampleStore, "write", write)
            with pytest.raises(type(error)):
                ran(out, **changes)

    @pytest.mark.parametrize("after", [1, 2, 4, 7])
    def test_equals_the_uninterrupted_run(self, whole, tmp_path, monkeypatch, after):
        self.interrupted(monkeypatch, tmp_path, after, KeyboardInterrupt())
        drawn = []
        monkeypatch.setattr(
            samples_module,
            "save_file",
            lambda *arguments, save=samples_module.save_file: drawn.append(save(*arguments)),
        )
        ran(tmp_path)
        assert len(drawn) == 12 - after
        assert all(equal(tmp_path / name, whole[0] / name) for name in "abc")
        assert not half_written(tmp_path)

    def test_between_the_old_folder_and_the_new(self, whole, tmp_path, monkeypatch):
        shutil.copytree(whole[0], tmp_path / "out")
        renamed = []

        def rename(source, target):
            renamed.append(target)
            if len(renamed) == 2:
                raise KeyboardInterrupt
            os.replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr("scoreinv.batch.folders.os.rename", rename)
            with pytest.raises(KeyboardInterrupt):
                ran(tmp_path / "out", "run.sampling.samples=2")
        assert not (tmp_path / "out" / "a").exists()
        ran(tmp_path / "out")
        assert all(equal(tmp_path / "out" / name, whole[0] / name) for name in "abc")

    def test_more_samples_are_added_to_those_that_are_there(self, tmp_path):
        only = ["cases=[{name: a}]", "run.methods=[dds]"]
        ran(tmp_path / "few", *only, "run.sampling.samples=1")
        ran(tmp_path / "few", *only, "run.sampling.samples=3")
        assert [event["number"] for event in events(tmp_path / "few", "image")] == [0, 1, 2]
        ran(tmp_path / "many", *only, "run.sampling.samples=3")
        assert equal(tmp_path / "few" / "a", tmp_path / "many" / "a")

    def test_what_started_from_the_mean_of_fewer_samples_is_made_anew(self, tmp_path):
        only = ["run.methods=[dds, dds+dps]", "run.sampling.sigma_max=1", "cases=[{name: a}]"]
        ran(tmp_path / "few", *only, "run.sampling.samples=1")
        ran(tmp_path / "few", *only, "run.sampling.samples=2")
        before = json.loads((tmp_path / "few" / "a" / "status.json").read_text())["kept_before"]
        assert before == {"dds": [0], "dds+dps": []}
        ran(tmp_path / "many", *only, "run.sampling.samples=2")
        assert equal(tmp_path / "few" / "a", tmp_path / "many" / "a")

    def test_another_method_leaves_the_others_kept(self, whole, tmp_path):
        shutil.copytree(whole[0], tmp_path / "out")
        before = len(events(tmp_path / "out", "image"))
        ran(tmp_path / "out", "run.methods=[fdk, cgls, dds]")
        assert [event["method"] for event in events(tmp_path / "out", "image")[before:]] == ["cgls"] * 3

    def test_options_of_a_method_make_anew_what_depends_on_them(self, tmp_path):
        methods = "run.methods=[fdk, sart, dds, sart+dds, sart+dds+dps]"
        only = [methods, "run.sampling.sigma_max=1", "cases=[{name: a}]"]
        ran(tmp_path, *only)
        before = len(events(tmp_path, "image"))
        ran(tmp_path, *only, "run.options={sart: {iterations: 2}}")
        assert {event["method"] for event in events(tmp_path, "image")[before:]} == {"sart", "sart+dds", "sart+dds+dps"}

    def test_other_settings_or_inputs_are_computed_anew(self, tmp_path):
        volume = torch.zeros(2, 16, 16)
        write_image(tmp_path / "scan.nii.gz", volume, voxel_size=(24.0, 24.0, 24.0))
        changes = {"cases": [{"file": str(tmp_path / "scan.nii.gz")}], "run": RUN | {"input": {}, "methods": ["fdk"]}}
        numbers = []
        for change in ("same", "same", "seed", "input"):
            if change == "input":
                write_image(tmp_path / "scan.nii.gz", volume + 100, voxel_size=(24.0, 24.0, 24.0))
            overrides = [] if change == "same" else ["run.scan.seed=5"]
            ran(tmp_path / "out", *overrides, **changes)
            numbers.append(len(events(tmp_path / "out", "image")))
        assert numbers == [1, 1, 2, 3]


class TestOneBadCase:
    @pytest.fixture
    def scans(self, tmp_path):
        write_image(tmp_path / "good.nii.gz", torch.zeros(2, 16, 16), voxel_size=(24.0, 24.0, 24.0))
        (tmp_path / "corrupt.nii.gz").write_bytes((tmp_path / "good.nii.gz").read_bytes()[:60])
        write_image(tmp_path / "last.nii.gz", torch.zeros(2, 16, 16), voxel_size=(24.0, 24.0, 24.0))
        return tmp_path

    def test_does_not_stop_the_others(self, scans):
        cases = [{"file": f"{scans}/*.nii.gz"}, {"file": f"{scans}/none.nii.gz"}]
        run = RUN | {"input": {}, "methods": ["fdk"]}
        outcomes, said = ran(scans / "out", cases=cases, run=run)
        assert {name: outcome.status for name, outcome in outcomes.items()} == {
            **{"corrupt": "failed", "good": "complete", "last": "complete", "none": "failed"}
        }
        assert "corrupt.nii.gz" in outcomes["corrupt"].reason
        assert "none.nii.gz: no such file" in said
        assert summary(scans / "out")["counts"] == {"complete": 2, "failed": 2, "pending": 0}
        assert summary(scans / "out")["cases"]["corrupt"]["reason"] == outcomes["corrupt"].reason
        status = json.loads((scans / "out" / "corrupt" / "status.json").read_text())
        assert (status["status"], status["reason"]) == ("failed", outcomes["corrupt"].reason)

        shutil.copy(scans / "good.nii.gz", scans / "corrupt.nii.gz")
        outcomes, _ = ran(scans / "out", cases=cases, run=run)
        assert {name: outcome.status for name, outcome in outcomes.items()}["corrupt"] == "complete"
        assert summary(scans / "out")["counts"] == {"complete": 3, "failed": 1, "pending": 0}

    def test_without_its_geometry_says_so(self, scans):
        run = {"modality": "pet", "methods": ["osem"]}
        beside = {"input.attenuation": "{stem}_mu.nii.gz"}
        outcomes, _ = ran(scans / "out", cases=[{"file": f"{scans}/good.nii.gz"}], run=run, beside=beside)
        assert "good_mu.nii.gz: no such file" in outcomes["good"].reason

    def test_leaves_the_results_of_other_settings(self, whole, tmp_path, monkeypatch):
        shutil.copytree(whole[0], tmp_path / "out")
        monkeypatch.setattr(run_module, "load_case", lambda settings: 1 / 0)
        outcomes, _ = ran(tmp_path / "out", "run.scan.seed=9")
        assert {outcome.reason for outcome in outcomes.values()} == {"ZeroDivisionError: division by zero"}
        assert all(equal(tmp_path / "out" / name, whole[0] / name) for name in "abc")
        assert summary(tmp_path / "out")["counts"]["failed"] == 3

    def test_folder_that_is_somebody_elses_is_left_alone(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "notes.txt").write_text("mine")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "b").symlink_to(tmp_path / "elsewhere")
        outcomes, _ = ran(tmp_path, "run.methods=[fdk]")
        assert [outcomes[name].status for name in "abc"] == ["failed", "failed", "complete"]
        assert "is there and no result of a batch" in outcomes["a"].reason
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["notes.txt"]
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_folder_with_a_status_of_somebody_else_is_pending_to_other_shards(self, tmp_path):
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "status.json").write_text('{"status": "running"}')
        ran(tmp_path, "run.methods=[fdk]", shard=Share(0, 2))
        assert summary(tmp_path)["counts"] == {"complete": 2, "failed": 0, "pending": 1}


class TestDisk:
    @pytest.mark.parametrize("write", ["scoreinv.samples.save_file", "scoreinv.io.images._write_nifti"])
    def test_that_is_full_leaves_nothing_half_written(self, whole, tmp_path, monkeypatch, write):
        calls = []

        def full(*arguments):
            calls.append(arguments)
            [path] = [argument for argument in arguments if isinstance(argument, Path)]
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(write, full)
            outcomes, said = ran(tmp_path)
        assert len(calls) == 3
        assert all("No space left on device" in outcome.reason for outcome in outcomes.values())
        assert "No space left on device" in said
        assert not half_written(tmp_path)
        ran(tmp_path)
        assert all(equal(tmp_path / name, whole[0] / name) for name in "abc")

    def test_so_full_that_not_even_reasons_can_be_written(self, tmp_path, monkeypatch):
        def full(*arguments):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(samples_module, "save_file", full)
        monkeypatch.setattr(case_module, "write_json", full)
        monkeypatch.setattr("scoreinv.batch.progress.os.write", full)
        outcomes, _ = ran(tmp_path)
        assert all("No space left on device" in outcome.reason for outcome in outcomes.values())

    def test_that_is_read_only_is_said_before_anything_is_computed(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        with pytest.raises(NotADirectoryError):
            ran(tmp_path / "file" / "out")

        def refuse(*arguments, **options):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

        monkeypatch.setattr(Path, "mkdir", refuse)
        monkeypatch.setattr(run_module, "load_case", lambda settings: pytest.fail("computed"))
        with pytest.raises(PermissionError):
            ran(tmp_path / "out")


class TestProcesses:
    def test_shards_do_the_whole_together(self, whole, tmp_path):
        first, _ = ran(tmp_path, shard=Share(0, 2))
        assert list(first) == ["a", "c"]
        assert summary(tmp_path)["counts"] == {"complete": 2, "failed": 0, "pending": 1}
        second, _ = ran(tmp_path, shard=Share(1, 2))
        assert list(second) == ["b"]
        assert summary(tmp_path)["counts"] == {"complete": 3, "failed": 0, "pending": 0}
        assert all(equal(tmp_path / name, whole[0] / name) for name in "abc")

    def test_a_case_is_never_under_two_hands(self, tmp_path):
        with alone(tmp_path, "b"):
            outcomes, _ = ran(tmp_path, "run.methods=[fdk]")
        assert [outcomes[name].status for name in "abc"] == ["complete", "busy", "complete"]
        assert summary(tmp_path)["cases"]["b"]["status"] == "pending"

    @pytest.mark.slow
    def test_sigterm_keeps_what_is_done_and_exits_143(self, whole, tmp_path):
        config, out = tmp_path / "c.yaml", tmp_path / "out"
        slow = yaml.safe_dump(tree(run=RUN | {"sampling": {"steps": 40, "samples": 40}}))
        config.write_text(slow)
        command = [sys.executable, "-m", "scoreinv", "batch", str(config), "--out", str(out)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not (out / "events.jsonl").is_file() or len(events(out, "image")) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 143
        assert "Traceback" not in err
        assert events(out)[-1]["event"] == "terminated"
        assert summary(out)["counts"]["complete"] < 3
        assert not half_written(out)
        kept = list((out / ".work").rglob("*.safetensors"))
        assert len(kept) >= 3


@pytest.mark.slow
class TestRanks:
    """Real processes of `accelerate launch`."""

    @pytest.fixture(scope="class")
    def by_one_thread(self, tmp_path_factory):
        """Never interrupted, by as many threads as each rank has: sums are rounded in their order."""
        threads = torch.get_num_threads()
        out = tmp_path_factory.mktemp("one-thread") / "out"
        ran(out, threads=1)
        torch.set_num_threads(threads)
        return out

    def launched(self, folder, **changes):
        (folder / "c.yaml").write_text(yaml.safe_dump(tree(threads=1, **changes)))
        launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines=1", "--num_processes=2"]
        launch += ["--mixed_precision=no", "--dynamo_backend=no", "--num_cpu_threads_per_process=1"]
        command = [sys.executable, *launch, "-m", "scoreinv", "batch", folder / "c.yaml", "--out", folder / "out"]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)

    def test_share_the_cases(self, by_one_thread, tmp_path):
        ran = self.launched(tmp_path)
        assert ran.returncode == 0, ran.stderr
        workers = {event["case"]: event["worker"] for event in events(tmp_path / "out", "case_complete")}
        assert workers == {"a": "shard 0/1, rank 0/2", "b": "shard 0/1, rank 1/2", "c": "shard 0/1, rank 0/2"}
        assert summary(tmp_path / "out")["counts"] == {"complete": 3, "failed": 0, "pending": 0}
        assert ran.stdout.count("| complete |") == 3
        assert all(equal(tmp_path / "out" / name, by_one_thread / name) for name in "abc")

    def test_one_with_a_bad_case_does_not_end_the_other(self, by_one_thread, tmp_path):
        ran = self.launched(tmp_path, cases=[CASES[0], {"name": "bad", "file": "none.nii.gz"}, *CASES[1:2]])
        assert ran.returncode != 0
        assert summary(tmp_path / "out")["counts"] == {"complete": 2, "failed": 1, "pending": 0}
        assert all(equal(tmp_path / "out" / name, by_one_thread / name) for name in "ab")
        assert "terminated" not in [event["event"] for event in events(tmp_path / "out")]


@pytest.mark.slow
def test_kill_9_at_random_moments_changes_nothing(tmp_path):
    from benchmarks.batch import survive

    survive(tmp_path, kills=3, cases=6)
