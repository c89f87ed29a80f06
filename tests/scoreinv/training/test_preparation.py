import re
from pathlib import Path

import numpy as np
import pytest
import torch

from scoreinv import cli
from scoreinv.io import Image, write_image
from scoreinv.metrics import to_hu
from scoreinv.operators import ConeBeamCT
from scoreinv.training import PrepareSettings, preparation, prepare
from scoreinv.training.pair_source import PairSettings, PairSource
from scoreinv.training.pairs import read_pair
from scoreinv.training.preparation import find

SCAN = {"detector_shape": (8, 12), "pixel_size": (40.0, 40.0), "views": 6}


def settings(folder, **changes):
    grid = {"shape": (6, 8, 8), "voxel_size": (20.0, 20.0, 20.0), "scan": SCAN}
    return PrepareSettings(folder=folder, **(grid | changes))


def volume(path: Path, seed: int = 0, lowest: float = -1000.0) -> None:
    """A box of bright tissue in air, 10 mm voxels."""
    hu = torch.full((12, 16, 16), lowest)
    inside = torch.rand(6, 8, 8, generator=torch.Generator().manual_seed(seed))
    hu[3:9, 4:12, 4:12] = 1500 * inside
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, Image(hu, (10.0, 10.0, 10.0)))


def cases(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*.h5"))


def test_a_case_is_the_volume_on_the_grid_and_its_noisy_scan(tmp_path):
    volume(tmp_path / "in/a.nii.gz")
    given = settings(tmp_path / "in", validation=0, test=0)
    assert prepare(given, tmp_path / "out", progress=False) == {"train": 1, "validation": 0, "test": 0}
    pair = read_pair(tmp_path / "out/train/a.h5")
    assert (pair.grid.shape, pair.grid.voxel_size, pair.subject) == ((6, 8, 8), (20.0, 20.0, 20.0), "a")
    hu = to_hu(pair.attenuation)
    assert -1000.5 < float(hu.min()) < -999.5 < 500 < float(hu.max()) <= 1000.5
    expected = ConeBeamCT(given.scan.geometry(), pair.grid).forward(pair.attenuation)
    deviation = (pair.projections - expected) / torch.exp(expected / 2) * 1e5**0.5
    assert float(deviation.square().mean().sqrt()) == pytest.approx(1, abs=0.15)


def test_training_draws_from_what_was_prepared(tmp_path):
    for name in ("train/a", "train/b", "validation/c"):
        volume(tmp_path / f"in/{name}.nii.gz")
    prepare(settings(tmp_path / "in"), tmp_path / "out", progress=False)
    source = PairSource(PairSettings(folder=tmp_path / "out"), 0)
    assert [path.stem for path in source.files] == ["a", "b"]
    assert [pair.subject for pair in source.validation()] == ["c"]


def test_files_by_name_or_pattern_leave_the_others_out(tmp_path):
    for name in ("one.nii.gz", "two.nii.gz", "sub/three.nii.gz"):
        volume(tmp_path / name)
    found = find(settings(tmp_path, files=("one.nii.gz", "sub/*")))
    assert sorted(source.case for source in found) == ["one", "sub_three"]
    with pytest.raises(FileNotFoundError, match=r"of \['none.*'\]"):
        find(settings(tmp_path, files=("none.*",)))


class TestSplits:
    def test_given_ones_are_kept(self, tmp_path):
        for name in ("train/a", "validation/b", "test/p/c"):
            volume(tmp_path / f"{name}.nii.gz")
        found = {source.case: (source.split, source.subject) for source in find(settings(tmp_path))}
        assert found == {"a": ("train", "a"), "b": ("validation", "b"), "p_c": ("test", "p")}

    def test_lots_keep_subjects_together_and_shares_about(self, tmp_path, monkeypatch):
        paths = [tmp_path / f"p{k:03}" / f"{scan}.nii.gz" for k in range(300) for scan in ("one", "two")]
        monkeypatch.setattr(preparation, "_volumes", lambda folder: paths)
        found = find(settings(tmp_path, validation=0.2, test=0.1))
        splits = {source.subject: source.split for source in found}
        assert all(splits[source.subject] == source.split for source in found)
        shares = {split: sum(s == split for s in splits.values()) / 300 for split in ("validation", "test")}
        assert shares == {"validation": pytest.approx(0.2, abs=0.06), "test": pytest.approx(0.1, abs=0.05)}
        monkeypatch.setattr(preparation, "_volumes", lambda folder: paths[:100])
        assert all(splits[source.subject] == source.split for source in find(settings(tmp_path, validation=0.2)))

    def test_one_subject_in_two_is_refused(self, tmp_path):
        volume(tmp_path / "train/p1/a.nii.gz")
        volume(tmp_path / "test/p1/b.nii.gz")
        with pytest.raises(ValueError, match=r"^prepare: subject p1 is in train .* and in test .*, expected one split"):
            prepare(settings(tmp_path), tmp_path / "out", progress=False)
        assert not (tmp_path / "out").exists()

    def test_a_case_of_another_split_by_an_earlier_lot_is_refused(self, tmp_path):
        volume(tmp_path / "in/train/a.nii.gz")
        prepare(settings(tmp_path / "in"), tmp_path / "out", progress=False)
        (tmp_path / "in/train").rename(tmp_path / "in/test")
        with pytest.raises(ValueError, match=r"belongs to test, but lies in .*train already"):
            prepare(settings(tmp_path / "in"), tmp_path / "out", progress=False)

    def test_dicom_is_of_its_patient(self, tmp_path, monkeypatch):
        for folder in ("train/x/s1", "train/x/s2"):
            (tmp_path / folder).mkdir(parents=True)
        monkeypatch.setattr(preparation, "holds_dicom", lambda folder: folder.name in ("s1", "s2"))
        monkeypatch.setattr(preparation, "patient_id", lambda folder: "P7" if folder.name == "s1" else "")
        assert [(s.case, s.subject) for s in find(settings(tmp_path))] == [("x_s1", "P7"), ("x_s2", "x")]


class TestResumed:
    def prepared(self, tmp_path, **changes):
        return prepare(settings(tmp_path / "in", **changes), tmp_path / "out", progress=False)

    def test_complete_files_are_kept_and_the_rest_is_the_same(self, tmp_path, monkeypatch):
        for name in "abc":
            volume(tmp_path / f"in/train/{name}.nii.gz", ord(name))
        self.prepared(tmp_path)
        whole = {name: read_pair(tmp_path / "out" / name).projections for name in cases(tmp_path / "out")}
        (tmp_path / "out/train/b.h5").unlink()
        kept = (tmp_path / "out/train/a.h5").stat().st_mtime_ns
        self.prepared(tmp_path)
        assert (tmp_path / "out/train/a.h5").stat().st_mtime_ns == kept
        assert all(torch.equal(read_pair(tmp_path / "out" / name).projections, whole[name]) for name in whole)

    def test_a_volume_that_fails_leaves_the_others_and_no_half_file(self, tmp_path):
        volume(tmp_path / "in/train/a.nii.gz")
        (tmp_path / "in/train/b.nii.gz").write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"b\.nii\.gz: damaged"):
            self.prepared(tmp_path)
        assert [path.name for path in (tmp_path / "out/train").iterdir()] == ["a.h5"]

    def test_other_settings_are_refused_by_name(self, tmp_path):
        volume(tmp_path / "in/train/a.nii.gz")
        self.prepared(tmp_path)
        with pytest.raises(ValueError, match=r"was prepared with another seed and window; expected the settings in"):
            self.prepared(tmp_path, seed=3, window=(-1000, 500))


class TestRefused:
    def test_values_that_are_not_hounsfield(self, tmp_path):
        volume(tmp_path / "in/a.mha", lowest=0.0)
        with pytest.raises(ValueError, match=r"a\.mha: values go from 0 to .*expected HU with air near -1000"):
            prepare(settings(tmp_path / "in"), tmp_path / "out", progress=False)

    def test_two_volumes_of_one_name(self, tmp_path):
        volume(tmp_path / "train/a_b.nii.gz")
        volume(tmp_path / "train/a/b.nii.gz")
        with pytest.raises(ValueError, match=r"would both be a_b\.h5; rename one"):
            prepare(settings(tmp_path), tmp_path / "out", progress=False)

    def test_an_empty_or_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"holds no \.nii, \.nii\.gz or \.mha file and no"):
            find(settings(tmp_path))
        with pytest.raises(FileNotFoundError, match="does not exist; give one of"):
            find(settings(tmp_path / "none"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"window": (500, -500)}, "expected lowest < highest"), ({"test": 0.9, "validation": 0.1}, "sum below 1")],
    )
    def test_settings_that_do_not_go_together(self, tmp_path, change, message):
        with pytest.raises(ValueError, match=message):
            settings(tmp_path, **change)


def test_a_patient_beside_the_detector_is_told(tmp_path, caplog):
    volume(tmp_path / "in/train/a.nii.gz")
    prepare(settings(tmp_path / "in", scan=SCAN | {"detector_shape": (8, 2)}), tmp_path / "out", progress=False)
    assert re.search(r"a\.nii\.gz: \d+ % of the patient cast their shadow beside", caplog.text)


def test_command_counts_the_cases(tmp_path, monkeypatch, capsys):
    volume(tmp_path / "in/train/a.nii.gz")
    (tmp_path / "c.yaml").write_text("shape: [6, 8, 8]\nvoxel_size: [20, 20, 20]\nscan: {views: 6}\nfolder: none\n")
    arguments = ["prepare", tmp_path / "c.yaml", "--out", tmp_path / "out", "--set", f"folder={tmp_path / 'in'}"]
    monkeypatch.setattr("sys.argv", ["scoreinv", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert "1 for train, 0 for validation, 0 for test" in capsys.readouterr().out
    assert np.array_equal(cases(tmp_path / "out"), ["train/a.h5"])
