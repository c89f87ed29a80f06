import shutil
from pathlib import Path

import pytest

from scoreinv.batch import identity
from scoreinv.config import CTSettings, PETSettings, resolve
from scoreinv.priors import storage


def ct(**changes):
    return resolve(CTSettings, changes)


class TestKey:
    def test_of_names_and_numbers_nothing_depends(self):
        same = ct(name="other", methods=["fdk"], sampling={"samples": 7, "max_slices": 2})
        assert identity.key(same) == identity.key(ct())

    @pytest.mark.parametrize("changes", [{"scan": {"seed": 2}}, {"sampling": {"seed": 1}}, {"sampling": {"steps": 9}}])
    def test_of_everything_else_all_depends(self, changes):
        assert identity.key(ct(**changes)) != identity.key(ct())

    def test_of_inputs_weights_and_versions_it_depends(self, monkeypatch):
        keys = {identity.key(ct(), {"a": "1"}), identity.key(ct(), {"a": "2"}), identity.key(ct())}
        monkeypatch.setattr(identity, "versions", lambda: {"scoreinv": "next"})
        assert len(keys | {identity.key(ct())}) == 4


class TestInputs:
    def test_change_with_their_contents(self, tmp_path):
        settings = ct(input={"volume": str(tmp_path / "a.nii")})
        (tmp_path / "a.nii").write_text("one")
        one = identity.inputs(settings)
        (tmp_path / "a.nii").write_text("another")
        assert identity.inputs(settings).keys() == one.keys() == {str(tmp_path / "a.nii")}
        assert identity.inputs(settings) != one

    @pytest.mark.parametrize("name", ["counts.s", "counts of today.s"])
    def test_include_what_headers_name(self, tmp_path, name):
        (tmp_path / "s.hs").write_text(f"!INTERFILE :=\n!name of data file := {name}\r\nend :=\n")
        (tmp_path / name).write_bytes(b"12")
        settings = resolve(PETSettings, {"modality": "pet", "input": {"sinogram": str(tmp_path / "s.hs")}})
        assert {Path(path).name for path in identity.inputs(settings)} == {"s.hs", name}
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
            identity.inputs(settings)

    def test_of_a_folder_are_its_files(self, tmp_path):
        for name in ("1.dcm", "2.dcm"):
            (tmp_path / name).write_text(name)
        assert len(identity.inputs(ct(input={"volume": str(tmp_path)}))) == 2


def test_weights_change_with_the_folder_of_the_prior(tmp_path):
    shutil.copytree(storage.BUNDLED / "ct-128", tmp_path / "prior")
    settings = ct(sampling={"prior": str(tmp_path / "prior")})
    [before] = identity.weights(settings).values()
    assert [before] == list(identity.weights(ct()).values())
    with (tmp_path / "prior" / "config.json").open("a") as file:
        file.write("\n")
    assert [before] != list(identity.weights(settings).values())
