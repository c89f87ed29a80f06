import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreinv import load_prior
from scoreinv.config import load_settings, resolve
from scoreinv.io import write_image
from scoreinv.training import TrainSettings, card, ct, train
from scoreinv.training.data import MODALITIES, load_groups
from scoreinv.training.slices import MARGIN, Slices

TINY = {
    "name": "tiny",
    "data": {"phantoms": 1, "voxel_size": [8.0, 12.0]},
    "network": {"channels": [8, 8], "norm_groups": 4, "attention_head_dim": 8},
    "phases": [{"steps": 4, "crop": 16, "batch": 2}, {"steps": 2, "crop": 24, "batch": 1}],
    "warmup": 2,
    "precision": "fp32",
    "checkpoint_every": 3,
}


def settings(*overrides):
    return resolve(TrainSettings, TINY, overrides)


def fit(out, *overrides):
    return train(settings(*overrides), out, progress=False)


def weights(prior):
    return prior.network.state_dict()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    # Threads wait for each other longer than a network this small computes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    return out, fit(out)


@pytest.fixture
def scans(tmp_path):
    """A folder of two CT volumes of a user's own: a disc of soft tissue in air."""
    folder = tmp_path / "scans"
    folder.mkdir()
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
    for k, name in enumerate(("a.nii.gz", "b.mha")):
        disc = torch.where(x**2 + y**2 < 0.5 + 0.2 * k, 40.0, -1000.0)
        write_image(folder / name, disc.expand(20, 32, 32).clone(), voxel_size=(8.0, 8.0, 8.0))
    return folder


def test_crops_that_the_network_cannot_halve_are_refused():
    with pytest.raises(ValueError, match="crop is 15, expected a multiple of 2"):
        settings("phases=[{steps: 1, crop: 15, batch: 1}]")


class TestTrain:
    def test_half_precision_trains(self, tmp_path):
        # In a process of its own: accelerate keeps the precision of the first run for the life of a process.
        script = (
            "from pathlib import Path; from scoreinv.config import resolve; from scoreinv.training import *;"
            f"train(resolve(TrainSettings, {TINY | {'precision': 'bf16'}!r}), Path({str(tmp_path)!r}), progress=False)"
        )
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        assert load_prior(tmp_path / "prior").name == "tiny"

    def test_writes_a_prior_that_can_be_loaded(self, unbroken):
        out, prior = unbroken
        loaded = load_prior(out / "prior")
        assert (loaded.name, loaded.voxel_size, loaded.multiple) == ("tiny", (8.0, 12.0), 2)
        assert (loaded.air, loaded.intensity.unit) == (-1.0, "1/mm")
        assert [sigma for sigma, _ in loaded.errors] == sorted(sigma for sigma, _ in prior.errors)
        for name, value in weights(prior).items():
            assert torch.equal(weights(loaded)[name], value.half().float()), name
        assert "# tiny" in (out / "prior" / "README.md").read_text()

    def test_resumed_run_is_the_unbroken_run(self, unbroken, tmp_path, monkeypatch):
        _, prior = unbroken
        module = sys.modules["scoreinv.training.train"]  # the package's own name `train` is the function
        loss = module.edm_loss
        calls = []

        def killed_at_the_fifth_step(*arguments):
            calls.append(1)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return loss(*arguments)

        monkeypatch.setattr(module, "edm_loss", killed_at_the_fifth_step)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path)
        monkeypatch.undo()
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
        again = fit(tmp_path)
        for name, value in weights(prior).items():
            assert torch.equal(weights(again)[name], value), name
        assert again.errors == prior.errors

    def test_finished_run_is_not_repeated(self, unbroken, tmp_path):
        out, prior = unbroken
        shutil.copytree(out, tmp_path / "copy")
        again = fit(tmp_path / "copy")
        assert all(torch.equal(weights(again)[name], value) for name, value in weights(prior).items())

    @pytest.mark.parametrize(
        ("override", "says"),
        [
            ("learning_rate=0.01", "made with learning_rate = 0.0004, this run has 0.01"),
            ("phases=[{steps: 9, crop: 16, batch: 2}]", "made with phases"),
            ("data.phantoms=2", "made with data.phantoms = 1, this run has 2"),
            ("network.channels=[8, 16]", "made with network.channels"),
        ],
    )
    def test_other_settings_are_refused_and_nothing_is_written(self, unbroken, tmp_path, override, says):
        shutil.copytree(unbroken[0], tmp_path / "copy")
        before = {path: path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match="another --out") as caught:
            fit(tmp_path / "copy", override)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
        assert {path: path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file()} == before

    def test_card_may_be_mended_afterwards(self, unbroken, tmp_path):
        shutil.copytree(unbroken[0], tmp_path / "copy")
        again = fit(tmp_path / "copy", "name=renamed", "description=Better words.")
        assert again.name == "renamed"
        assert "Better words." in (tmp_path / "copy" / "prior" / "README.md").read_text()

    @pytest.mark.parametrize("damage", ["truncated", "foreign", "another program's"])
    def test_unusable_checkpoint_is_one_line(self, unbroken, tmp_path, damage):
        checkpoint = tmp_path / "checkpoint.pt"
        if damage == "truncated":
            checkpoint.write_bytes((unbroken[0] / "checkpoint.pt").read_bytes()[:5000])
        elif damage == "foreign":
            checkpoint.write_text("hello")
        else:
            torch.save({"state_dict": {}}, checkpoint)
        with pytest.raises(ValueError, match=r"checkpoint\.pt is .*no checkpoint.*; remove it") as caught:
            fit(tmp_path)
        assert "\n" not in str(caught.value)

    def test_settings_stand_beside_the_checkpoint(self, unbroken):
        assert load_settings(TrainSettings, unbroken[0] / "config.yaml") == settings()

    def test_learns_more_than_to_leave_the_image_alone(self, scans, tmp_path):
        own = (f"data.folder={scans}", "data.phantoms=0", "data.voxel_size=[8, 8]", "log_sigma=[-0.5, 0.8]")
        phase = "phases=[{{steps: {}, crop: 16, batch: 4}}]"
        first = dict(fit(tmp_path / "first", *own, phase.format(1)).errors)
        last = dict(fit(tmp_path / "last", *own, phase.format(120), "learning_rate=0.01", "ema=0.9").errors)
        for sigma in (0.2, 0.5, 2.0):
            assert last[sigma] < 0.7 * first[sigma]
            assert last[sigma] < 0.7 * sigma

    def test_readable_progress(self, scans, tmp_path):
        fit(tmp_path / "out", f"data.folder={scans}", "data.phantoms=0", "phases=[{steps: 100, crop: 8, batch: 1}]")
        lines = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
        assert len(lines) == 1
        assert '"step": 100' in lines[0]


class TestCard:
    def test_licences_follow_the_files(self):
        both = {"a.nii.gz": "CC BY", "elsewhere.nii": "CC0"}
        assert card.described(["a.nii.gz", "b.mha"], both, 1).splitlines() == [
            "- a.nii.gz: CC BY",
            "- b.mha: licence not stated",
            "- procedural phantoms of this package (1)",
        ]
        assert card.described(["b.mha"], both, 0) == "- b.mha: licence not stated"

    def test_one_licence_for_a_whole_folder(self):
        assert card.described(["a.nii.gz", "b.mha"], {"*": "in-house"}, 0) == "- 2 x *: in-house"


class TestData:
    def test_folder_of_a_users_own(self, scans):
        train_crops, validation = load_groups(settings(f"data.folder={scans}", "data.phantoms=0").data, 0)
        assert len(train_crops.groups) == len(validation.groups) == 1
        assert len(validation.groups[0]) == 2
        crops = train_crops.draw(np.random.default_rng(0), 3, 16)
        assert crops.shape == (3, 1, 16, 16)
        assert crops.dtype == torch.float32
        assert float(crops.min()) >= -1.001
        assert float(crops.max()) <= 0.05

    def test_files_choose_among_the_volumes(self, scans):
        chosen = settings(f"data.folder={scans}", "data.files=[b.mha]", "data.phantoms=0").data
        assert len(load_groups(chosen, 0)[1].groups[0]) == 1

    def test_phantoms_beside_the_volumes_share_the_draws(self, scans):
        both = load_groups(settings(f"data.folder={scans}", "data.phantom_share=0.3").data, 0)[0]
        assert list(both.shares) == pytest.approx([0.7, 0.3])

    def test_missing_folder_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"data\.folder .*none does not exist"):
            load_groups(settings(f"data.folder={tmp_path / 'none'}").data, 0)

    def test_missing_file_is_named(self, scans):
        with pytest.raises(FileNotFoundError, match=r"c\.nii\.gz"):
            load_groups(settings(f"data.folder={scans}", "data.files=[c.nii.gz]").data, 0)

    def test_empty_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"holds no \.nii, \.nii\.gz or \.mha volume"):
            load_groups(settings(f"data.folder={tmp_path}").data, 0)

    def test_no_data_at_all(self):
        with pytest.raises(ValueError, match=r"set data\.folder to a folder of volumes"):
            load_groups(settings("data.phantoms=0").data, 0)

    @pytest.mark.parametrize("count", [2, 3, 7, 10, 11, 20, 57, 300])
    def test_training_and_validation_share_no_slice(self, count):
        slices = Slices(torch.arange(count)[None, :, None, None].expand(1, count, 2, 2), (1.0, 1.0, 1.0))
        stretches, slab = slices.split()
        validation = set(slab.values[0, :, 0, 0].tolist())
        trained = {k for stretch in stretches for k in stretch.values[0, :, 0, 0].tolist()}
        assert validation
        assert trained
        distances = [abs(a - b) for a in validation for b in trained]
        assert min(distances) > (MARGIN if count >= 10 else 0)

    def test_single_slice_cannot_be_shared_out(self, tmp_path):
        write_image(tmp_path / "one.nii.gz", torch.zeros(1, 8, 8), voxel_size=(1.0, 1.0, 1.0))
        with pytest.raises(ValueError, match=r"one\.nii\.gz is a single slice, expected a volume"):
            load_groups(settings(f"data.folder={tmp_path}", "data.phantoms=0").data, 0)

    def test_training_and_validation_share_no_phantom(self, monkeypatch):
        numbers = []
        numbered = replace(ct.CT, phantom=lambda seed, number, voxel_size: numbers.append(number) or number)
        monkeypatch.setitem(MODALITIES, "ct", numbered)
        train_crops, validation = load_groups(settings("data.phantoms=20").data, 0)
        assert len(train_crops.groups[0]) == 20
        assert not set(train_crops.groups[0]) & set(validation.groups[0])
        assert len(set(numbers)) == len(numbers)
