"""The example scripts run as they stand, on less."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "configs" / "uncertainty"


@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("how_many_samples", ["--samples", "4"], 2),
        ("dose", ["--samples", "3", "--photons", "1e3", "1e5"], 2),
        ("lesion_or_hallucination", ["--samples", "3", "--views", "4", "16"], 4),
    ],
)
def test_a_script_prints_its_table(name, options, rows, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--steps", "2", "--size", "48", *options])
    runpy.run_path(str(SCRIPTS / f"{name}.py"))
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + rows
    assert len({line.count("|") for line in table}) == 1
    assert "nan" not in "".join(table)
