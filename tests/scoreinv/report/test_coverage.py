import pytest

from scoreinv.report.coverage import curves


def test_curves_are_found_at_any_depth():
    tree = {"dds": {"levels": [0.5, 0.9], "coverage": [0.3, 0.6], "coverage_calibrated": [0.5, 0.89], "cases": [1, 0]}}
    (plot,) = curves(tree, "calibration")
    assert plot["title"] == "calibration, dds"
    assert [curve["name"] for curve in plot["curves"]] == ["coverage", "coverage calibrated"]
    assert plot["curves"][0]["points"] == [[0.5, 0.3], [0.9, 0.6]]


@pytest.mark.parametrize(
    "tree",
    [
        [],
        None,
        {},
        {"levels": [0.5, 0.9]},
        {"levels": [0.5, 0.9], "coverage": [0.5]},
        {"nominal": [5, 9], "before": [1, 1]},
    ],
)
def test_what_holds_no_curve_makes_no_plot(tree):
    assert list(curves(tree, "calibration")) == []
