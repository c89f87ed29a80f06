"""Pages in a browser: Chromium without a screen, from file://."""

import os
import shutil

import numpy as np
import pytest
from toy_calibration import toy_calibration
from toy_run import EVIL, SPACING, toy_run

from scoreinv.io import write_json
from scoreinv.report import report

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # Chromium's sandbox refuses root, which containers run as.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Open a page; at the end of the test it must have had nothing to complain of, and asked for no other file."""
    complaints, asked = [], []
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    def go(path):
        page.goto(path.as_uri())
        return page

    yield go
    page.close()
    assert complaints == []
    assert all(url.startswith("file://") and url.endswith("report.html") for url in asked)


@pytest.fixture
def run_page(opened, tmp_path):
    toy_run(tmp_path)
    page = opened(report(tmp_path))
    page.wait_for_function("document.getElementById('readout').textContent")
    return page


def pixels(page, plane):
    """(rows, columns, 3) of one canvas."""
    # A copy that is meant to be read: Chromium complains of reading one that is meant to be shown.
    script = """(canvas) => {
        const { width, height } = canvas;
        const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        return [height, width, Array.from(copy.getImageData(0, 0, width, height).data)];
    }"""
    rows, columns, values = page.locator("canvas").nth(plane).evaluate(script)
    return np.array(values).reshape(rows, columns, 4)[..., :3]


def settle(page):
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")


def move(page, slider, value):
    page.locator(slider).fill(str(value))
    settle(page)


def choose(page, group, value):
    page.locator(f"{group} input[value='{value}']").check()
    settle(page)


def test_slices_are_those_of_the_volume(opened, tmp_path):
    truth, *_ = toy_run(tmp_path)
    page = opened(report(tmp_path))
    page.wait_for_function("document.getElementById('readout').textContent")
    choose(page, "#layers", 0)
    hu = 1000 * (truth.numpy() / 0.02 - 1)
    expected = np.clip((hu + 1000) * 255 / 2000, 0, 255)
    for value in (0, 5):
        move(page, "#slice-z", value)
        assert np.abs(pixels(page, 0)[..., 0] - expected[value]).max() <= 1
    move(page, "#slice-y", 7)
    assert np.abs(pixels(page, 1)[..., 0] - expected[::-1, 7]).max() <= 1  # superior up
    move(page, "#slice-x", 3)
    assert np.abs(pixels(page, 2)[..., 0] - expected[::-1, :, 3]).max() <= 1


def test_a_slider_answers_the_keyboard(run_page):
    before = pixels(run_page, 0)
    run_page.locator("#slice-z").focus()
    run_page.keyboard.press("ArrowRight")
    settle(run_page)
    assert not np.array_equal(pixels(run_page, 0), before)
    assert run_page.locator("figcaption output").first.text_content() == "5 / 6"


def test_overlays_toggle_and_fade(run_page):
    plain = pixels(run_page, 0)
    assert np.array_equal(plain[..., 0], plain[..., 2])  # grey
    choose(run_page, "#overlays", "error")
    error = pixels(run_page, 0)
    assert (error[..., 0] > error[..., 2]).all()  # fdk is too bright: red
    move(run_page, "#opacity", 0)
    assert np.array_equal(pixels(run_page, 0), plain)
    choose(run_page, "#layers", 2)
    move(run_page, "#opacity", 100)
    assert (pixels(run_page, 0)[..., 0] < pixels(run_page, 0)[..., 2]).mean() > 0.95  # dds too dark: blue
    choose(run_page, "#overlays", "spread")
    assert "uncalibrated" in run_page.locator("#overlay-legend").text_content()
    choose(run_page, "#overlays", "none")
    assert np.array_equal(pixels(run_page, 0)[..., 0], pixels(run_page, 0)[..., 2])


def test_what_a_method_has_not_cannot_be_chosen(run_page):
    assert run_page.locator("#overlays input[value=spread]").is_disabled()
    choose(run_page, "#layers", 2)
    assert run_page.locator("#overlays input[value=spread]").is_enabled()


def test_voxels_have_their_shape_in_every_plane(run_page):
    z, y, x = (n * size for n, size in zip((6, 20, 16), SPACING, strict=True))
    for plane, expected in enumerate((x / y, x / z, y / z)):
        box = run_page.locator("canvas").nth(plane).bounding_box()
        assert box["width"] / box["height"] == pytest.approx(expected, rel=0.02)


def test_letters_say_where_the_patient_lies(run_page):
    letters = run_page.locator(".plane b").all_text_contents()
    assert letters == ["A", "P", "R", "L", "S", "I", "R", "L", "S", "I", "A", "P"]


def test_a_click_moves_the_other_planes(run_page):
    run_page.locator("canvas").first.click(position={"x": 5, "y": 5})
    settle(run_page)
    assert run_page.locator("#readout").text_content().startswith("z 4, y 1, x 1")


def test_numbers_and_curves_are_there(run_page):
    rows = run_page.locator("#metrics tbody tr").all_text_contents()
    assert [row[:3] for row in rows] == ["fdk", "dds"]
    assert run_page.locator("#metrics tbody tr:nth-child(2) td.best").first.text_content() == "30.00"
    assert run_page.locator("#convergence svg").count() == 3
    assert run_page.locator("#timings svg").count() == 2
    assert "config.yaml" in run_page.locator("#command").text_content()
    assert run_page.locator("h1").text_content() == EVIL
    assert run_page.title().startswith("</script>")


def test_coverage_is_drawn_from_a_calibration(opened, tmp_path):
    toy_run(tmp_path)
    toy_calibration().save(tmp_path / "dds" / "calibration.json")
    page = opened(report(tmp_path))
    assert page.locator("#coverage-plots path").count() == 3


def test_one_slice_has_one_plane(opened, tmp_path):
    toy_run(tmp_path, shape=(1, 20, 16))
    page = opened(report(tmp_path))
    page.wait_for_function("document.getElementById('readout').textContent")
    assert page.locator("canvas").count() == 1


def test_cases_without_a_reference_are_told_apart_by_their_seconds(opened, tmp_path):
    cases = {"one": {"status": "complete", "metrics": {"fdk": {"seconds": 1.0, "memory": 5.0}}}}
    write_json(tmp_path / "summary.json", {"counts": {"complete": 1}, "means": [], "cases": cases})
    assert "fdk, seconds" in opened(report(tmp_path)).locator("#cases thead").text_content()


def test_a_batch_leads_to_its_cases(opened, tmp_path):
    toy_run(tmp_path / "one")
    cases = {
        "one": {"status": "complete", "metrics": {"fdk": {"psnr": 20.0, "seconds": 1.0}}},
        "two": {"status": "failed", "reason": EVIL},
    }
    means = {"of": {"scan.views": 8}, "cases": 1, "metrics": {"fdk": {"psnr": 20.0, "seconds": 1.0}}}
    write_json(
        tmp_path / "summary.json",
        {"counts": {"complete": 1, "failed": 1, "pending": 0}, "means": [means], "cases": cases},
    )
    page = opened(report(tmp_path))
    assert page.locator("#means tbody tr").count() == 1
    assert page.locator("#means caption").text_content() == "scan.views: 8 (1)"
    assert EVIL in page.locator("#cases tbody tr").nth(1).text_content()
    page.locator("#cases a").click()
    page.wait_for_function("document.getElementById('readout')?.textContent")
