import pytest
from toy_calibration import toy_calibration

from scoreinv.report.coverage import curves


def test_plots_are_those_of_the_calibration_that_was_written(tmp_path):
    found = toy_calibration()
    found.save(tmp_path / "calibration.json")
    intervals, tarp = curves(tmp_path / "calibration.json", "dds")
    assert (intervals["title"], tarp["title"]) == ("dds", "dds, TARP")
    assert [curve["name"] for curve in intervals["curves"]] == ["before", "after"]
    for curve, coverage in zip(intervals["curves"], (found.before.coverage, found.after.coverage), strict=True):
        assert curve["points"] == [list(point) for point in zip(found.levels, coverage, strict=True)]
    assert tarp["curves"][0]["points"][0] == [found.tarp["levels"][0], found.tarp["coverage"][0]]


def test_what_was_not_tested_makes_no_plot(tmp_path):
    toy_calibration(test=0).save(tmp_path / "calibration.json")
    assert curves(tmp_path / "calibration.json", "dds") == []


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "calibration.json").write_text('{"levels": [0.5, 0.9], "coverage": [0.3, 0.6]}')
    with pytest.raises(ValueError, match=r"calibration\.json: not a calibration"):
        curves(tmp_path / "calibration.json", "dds")
