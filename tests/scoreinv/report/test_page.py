import json
import re

import pytest
from toy_run import EVIL, toy_run

from scoreinv.io import write_json
from scoreinv.report import report

DATA = re.compile(r'<script id="data" type="application/json">(.*?)</script>', re.DOTALL)


def data(page):
    return json.loads(DATA.search(page.read_text()).group(1))


def toy_batch(folder):
    toy_run(folder / "one")
    (folder / "two").mkdir()
    cases = {
        "one": {"status": "complete", "metrics": {"fdk": {"psnr": 20.0, "seconds": 1.0}}},
        "two": {"status": "failed", "reason": EVIL},
    }
    means = {"of": {"scan.views": 8}, "cases": 1, "metrics": {"fdk": {"psnr": 20.0, "seconds": 1.0}}}
    write_json(
        folder / "summary.json",
        {"counts": {"complete": 1, "failed": 1, "pending": 0}, "means": [means], "cases": cases},
    )


def test_a_page_needs_nothing_but_itself(tmp_path):
    toy_run(tmp_path)
    page = report(tmp_path)
    text = page.read_text()
    assert page == tmp_path / "report.html"
    assert "not a medical device" in text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", DATA.sub("", text))
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src &#x27;none&#x27;" in text
    assert "$" not in text[: text.index("<style>")]


def test_names_stay_text(tmp_path):
    toy_run(tmp_path)
    text = report(tmp_path).read_text()
    assert EVIL not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert data(tmp_path / "report.html")["name"] == EVIL


def test_a_page_goes_where_it_is_told(tmp_path):
    toy_run(tmp_path / "run")
    assert report(tmp_path / "run", tmp_path / "a" / "b") == tmp_path / "a" / "b" / "report.html"
    assert not (tmp_path / "run" / "report.html").exists()


def test_what_cannot_be_read_leaves_the_old_page(tmp_path):
    toy_run(tmp_path)
    before = report(tmp_path).read_text()
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json"):
        report(tmp_path)
    assert (tmp_path / "report.html").read_text() == before
    assert not list(tmp_path.glob(".*"))


def test_a_batch_links_to_the_pages_of_its_cases(tmp_path):
    toy_batch(tmp_path)
    tree = data(report(tmp_path))
    assert (tmp_path / "one" / "report.html").is_file()
    assert [(case["name"], case["page"]) for case in tree["cases"]] == [("one", "one/report.html"), ("two", None)]
    assert tree["cases"][1]["reason"] == EVIL
    assert EVIL not in (tmp_path / "report.html").read_text()


def test_a_batch_elsewhere_links_to_pages_beside_it(tmp_path):
    toy_batch(tmp_path / "batch")
    tree = data(report(tmp_path / "batch", tmp_path / "pages"))
    assert (tmp_path / "pages" / tree["cases"][0]["page"]).is_file()


def test_a_damaged_summary_is_named(tmp_path):
    (tmp_path / "summary.json").write_text('{"cases": []}')
    with pytest.raises(ValueError, match=r"summary\.json"):
        report(tmp_path)


def test_a_folder_of_neither_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match="neither"):
            report(folder)
