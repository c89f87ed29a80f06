"""What `scoreinv info CONFIG` predicts of a run, beside what the run then takes: processor seconds and memory.

python tests/benchmarks/forecasts.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

from timing import Row, show

CONFIGS = Path(__file__).parents[2] / "configs"
RUNS = {
    "cbct/sparse_view": ["input.phantom.shape=[24,96,96]", "methods=[dds]"],
    "mri/poisson_disc": ["input.phantom.shape=[2,128,128]", "methods=[dds-mean]"],
    "pet/simulated": ["input.phantom.shape=[12,96,96]", "methods=[map-em]"],
}
# Each in a process of its own, whose memory and seconds are those of the run alone.
SCRIPT = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from scoreinv.batch.forecast import forecast_run
    from scoreinv.config import load_run
    from scoreinv.memory import most_held
    from scoreinv.run import run
    what, path, out, *overrides = sys.argv[1:]
    settings = load_run(path, overrides)
    if what == "predicted":
        found = forecast_run(settings)
        seconds, memory = sum(found.seconds.values()), found.memory
    else:
        metrics = run(settings, Path(out), progress=False, say=lambda line: None, picture=False)
        seconds = sum(row["seconds"] for row in metrics.values())
        memory = most_held()
    print(json.dumps([seconds, memory]))
    """
)


def rows(seconds: float, skipped: list[str]) -> Iterator[Row]:
    """`seconds` has no say: a run takes what it takes."""
    for name, overrides in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = {what: _told(what, name, folder, overrides) for what in ("predicted", "measured")}
        (guess, held), (spent, needed) = found["predicted"], found["measured"]
        yield {
            "run": name,
            "predicted (s)": guess,
            "measured (s)": spent,
            "ratio": guess / spent,
            "predicted (MiB)": held / 2**20,
            "measured (MiB)": needed / 2**20,
            "ratio of memory": held / needed,
        }


def _told(what: str, name: str, folder: str, overrides: list[str]) -> tuple[float, float]:
    command = [sys.executable, "-c", SCRIPT, what, str(CONFIGS / f"{name}.yaml"), folder, *overrides]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, memory = json.loads(output.splitlines()[-1])
    return seconds, memory


if __name__ == "__main__":
    show(rows, 0.0)
