from scoreinv.batch.summary import means, means_table
from scoreinv.config import BatchCase


def case(name, views):
    return BatchCase(name, None, {"scan.views": views})


def complete(**metrics):
    return {"status": "complete", "metrics": metrics}


def test_means_are_of_complete_cases_of_a_kind_by_the_same_methods():
    rows = {
        "a": complete(fdk={"psnr": 20.0}, tv={"psnr": 30.0}),
        "b": complete(fdk={"psnr": 22.0}, tv={"psnr": 31.0}),
        "c": complete(naf={"psnr": 25.0}),
        "d": complete(fdk={"psnr": 40.0}, tv={"psnr": 41.0}),
        "e": {"status": "failed"},
    }
    found = means([case(name, 8 if name == "d" else 4) for name in rows], rows)
    assert found == [
        {"of": {"scan.views": 4}, "cases": 2, "metrics": {"fdk": {"psnr": 21.0}, "tv": {"psnr": 30.5}}},
        {"of": {"scan.views": 4}, "cases": 1, "metrics": {"naf": {"psnr": 25.0}}},
        {"of": {"scan.views": 8}, "cases": 1, "metrics": {"fdk": {"psnr": 40.0}, "tv": {"psnr": 41.0}}},
    ]
    shown = means_table({"means": found})
    assert "scan.views: 4 (means of 2)" in shown
    assert shown.count("| fdk") == 2


def test_methods_are_compared_on_the_cases_where_all_of_them_have_the_metric():
    rows = {
        "a": complete(fdk={"psnr": 20.0, "vif": None}, tv={"psnr": None, "vif": None}),
        "b": complete(fdk={"psnr": 22.0, "vif": None}, tv={"psnr": 31.0, "vif": None}),
    }
    [found] = means([case(name, 4) for name in rows], rows)
    assert found["metrics"] == {"fdk": {"psnr": 22.0}, "tv": {"psnr": 31.0}}
