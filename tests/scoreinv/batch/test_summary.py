from scoreinv.batch.summary import means, means_table
from scoreinv.config import BatchCase


def test_means_are_of_complete_cases_that_are_alike_and_leave_out_what_is_no_number():
    rows = {"a-views-4": {"psnr": 20.0, "vif": None}, "b-views-4": {"psnr": 22.0, "vif": 0.5}, "c": {"psnr": 30.0}}
    cases = [BatchCase(name, None, {"scan.views": 4 if "4" in name else 8}) for name in [*rows, "failed"]]
    known = {name: {"status": "complete", "metrics": {"fdk": row}} for name, row in rows.items()}
    found = means(cases, known | {"failed": {"status": "failed"}})
    assert found == [
        {"of": {"scan.views": 4}, "cases": 2, "metrics": {"fdk": {"psnr": 21.0, "vif": 0.5}}},
        {"of": {"scan.views": 8}, "cases": 1, "metrics": {"fdk": {"psnr": 30.0}}},
    ]
    shown = means_table({"means": found})
    assert "scan.views: 4 (means of 2)" in shown
    assert shown.count("| fdk") == 2
