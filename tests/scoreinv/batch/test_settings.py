"""`scoreinv.config.batch`: from the file of a batch to its cases."""

import pytest
import yaml
from toy_batch import RUN, settings_and_cases, tree

from scoreinv.config import ConfigError, MRISettings, PETSettings, load_batch, load_run


def refused(match, *overrides, **changes):
    with pytest.raises(ConfigError, match=match) as caught:
        settings_and_cases(*overrides, **changes)
    assert "\n" not in str(caught.value)


@pytest.fixture
def scans(tmp_path):
    for name in ("one.nii.gz", "two.nii.gz", "two_mu.nii.gz"):
        (tmp_path / name).write_text("")
    return tmp_path


class TestCases:
    def test_are_runs_with_what_is_their_own(self):
        _, cases = settings_and_cases()
        assert [case.name for case in cases] == ["a", "b", "c"]
        assert [case.settings.input.phantom.seed for case in cases] == [0, 1, 2]
        assert all(case.settings.scan.views == 4 for case in cases)

    def test_of_a_pattern_are_named_after_their_files(self, scans):
        _, cases = settings_and_cases(cases=[{"file": f"{scans}/???.nii.gz"}], run=RUN | {"input": {}})
        assert [(case.name, case.settings.input.volume) for case in cases] == [
            ("one", scans / "one.nii.gz"),
            ("two", scans / "two.nii.gz"),
        ]

    def test_find_what_lies_beside_them(self, scans):
        run = {"modality": "pet", "methods": ["osem"]}
        beside = {"input.attenuation": "{stem}_mu.nii.gz", "sampling.reference": "/there/{stem}.nii"}
        _, [case] = settings_and_cases(cases=[{"file": f"{scans}/two.nii.gz"}], run=run, beside=beside)
        assert isinstance(case.settings, PETSettings)
        assert case.settings.input.attenuation == scans / "two_mu.nii.gz"
        assert str(case.settings.sampling.reference) == "/there/two.nii"

    def test_are_as_many_as_values_combine(self):
        entry = {"name": "a", "sweep": {"scan.views": [4, 6], "input.phantom.seed": [1, 2, 3]}}
        _, cases = settings_and_cases(cases=[entry, {"name": "b"}])
        assert [case.name for case in cases][:2] == ["a-views-4-seed-1", "a-views-4-seed-2"]
        told = [(case.settings.scan.views, case.settings.input.phantom.seed) for case in cases[:-1]]
        assert told == [(views, seed) for views in (4, 6) for seed in (1, 2, 3)]

    def test_are_counted_among_those_that_are_alike(self):
        entry = {"name": "a", "sweep": {"scan.views": [4, 6], "input.phantom.seed": [1, 2]}}
        _, cases = settings_and_cases(cases=[entry], means_by=["scan.views"])
        assert [case.kind for case in cases] == [{"scan.views": views} for views in (4, 4, 6, 6)]

    def test_are_counted_by_what_some_of_them_have(self):
        entries = [{"name": "a"}, {"name": "b", "set": {"input.phantom.lesion": {"contrast": 60.0}}}]
        entries.append({"name": "c", "set": {"modality": "pet", "methods": ["osem"], "input": {}, "scan": {}}})
        _, cases = settings_and_cases(cases=entries, means_by=["input.phantom.lesion.contrast", "scan.views"])
        assert [tuple(case.kind.values()) for case in cases] == [(None, 4), (60.0, 4), (None, None)]

    def test_are_named_by_values_of_any_kind(self):
        entry = {"name": "a", "sweep": {"input.volume": ["../x/one.nii", "two.nii"], "scan.photons": [1e4, None]}}
        _, cases = settings_and_cases(cases=[entry])
        assert [case.name for case in cases][:3] == [
            "a-volume-x-one.nii-photons-10000.0",
            "a-volume-x-one.nii-photons-None",
            "a-volume-two.nii-photons-10000.0",
        ]
        assert str(cases[1].settings.input.volume) == "../x/one.nii"
        assert cases[1].settings.scan.photons is None

    def test_may_be_of_another_modality(self):
        run = {"methods": ["dps"]}
        _, [case] = settings_and_cases(cases=[{"name": "head", "set": {"modality": "mri"}}], run=run)
        assert isinstance(case.settings, MRISettings)


class TestRefusals:
    def test_pattern_that_finds_nothing(self, tmp_path):
        refused(
            rf"config: cases\.0\.file: {tmp_path}/\*\.h5 finds no file in .*; expected at least one",
            **{"cases": [{"file": f"{tmp_path}/*.h5"}]},
        )

    def test_means_by_what_is_no_setting(self):
        refused(r"config: means_by: scan\.view is a key of no case's run, expected one such as", means_by=["scan.view"])

    @pytest.mark.parametrize(
        ("entry", "match"),
        [
            ({"sweep": {"scan.views": []}}, r"sweep\.scan\.views: is empty, expected at least one value"),
            ({"sweep": {"scan.views": [4, 4]}}, r"sweep\.scan\.views: is \[4, 4\], expected every value once"),
            ({"sweep": {"scan.views": [4]}, "set": {"scan.views": 5}}, r"sweep\.scan\.views: stands in set as well"),
        ],
    )
    def test_sweep_that_says_nothing_or_twice_the_same(self, entry, match):
        refused(match, cases=[entry | {"name": "a"}])

    def test_two_cases_of_one_name(self, scans):
        given = [{"file": f"{scans}/one.nii.gz"}, {"name": "ONE", "file": f"{scans}/two.nii.gz"}]
        refused(r"cases\.1 \('.*two.nii.gz'\) and cases\.0 \('.*one.nii.gz'\) are both named 'ONE'; give", cases=given)

    def test_one_name_of_many_files(self, scans):
        refused(r"cases\.0\.name: x is given to 3 files", cases=[{"name": "x", "file": f"{scans}/*.nii.gz"}])

    def test_case_of_nothing(self):
        refused(r"cases\.0: has neither name nor file", cases=[{}])

    @pytest.mark.parametrize("name", ["../up", "/abs", "a/b", "..", ".hidden", "", "a\nb", "a\n"])
    def test_names_that_leave_the_folder(self, name):
        refused("should match pattern", cases=[{"name": name}])
        refused("should match pattern", name=name)

    def test_methods_that_leave_the_folder(self):
        own = {"networks": {"../up": "fbpconvnet-tiny"}, "methods": ["../up"]}
        refused("should match pattern", cases=[{"name": "x", "set": own}])

    def test_files_whose_names_are_no_names_of_folders(self, tmp_path):
        (tmp_path / "a\n.nii").write_text("")
        (tmp_path / ".nii").write_text("")
        for pattern in ("a*.nii", ".nii"):
            refused("cannot be the name of a case's folder", cases=[{"file": f"{tmp_path}/{pattern}"}])

    @pytest.mark.parametrize("name", ["summary.json", "events.jsonl", "config.yaml", "report.html"])
    def test_names_of_other_files(self, name):
        refused("cannot be the name of a case's folder", cases=[{"name": name}])

    def test_runs_do_not_leave_their_folder_either(self, tmp_path):
        (tmp_path / "c.yaml").write_text("name: ../../up\n")
        with pytest.raises(ConfigError, match="name: string should match pattern"):
            load_run(tmp_path / "c.yaml")

    def test_files_of_another_version(self):
        refused(r"config: format: input should be 1, got 0", format=0)
        refused(r"unknown key outputs.sample; did you mean 'samples'\?", outputs={"sample": True})

    def test_settings_that_no_run_has(self):
        refused(r"cases\.0: run: unknown key scan\.veiws; did you mean 'views'\?", run=RUN | {"scan": {"veiws": 3}})
        refused(r"run: modality is 'sonar'", run={"modality": "sonar"})

    def test_tags_that_would_run_code(self, tmp_path):
        run = tmp_path / "ran"
        text = yaml.safe_dump(tree()) + f"beside: !!python/object/apply:os.mkdir ['{run}']\n"
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"not YAML .*could not determine a constructor"):
            load_batch(tmp_path / "c.yaml")
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree()))
        with pytest.raises(ConfigError, match="not YAML"):
            load_batch(tmp_path / "c.yaml", [f"beside=!!python/object/apply:os.mkdir ['{run}']"])
        assert not run.exists()
