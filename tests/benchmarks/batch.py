"""What `scoreinv batch` stands and costs: kills at random moments, two ranks, overhead over bare `solve`.

    python tests/benchmarks/batch.py kills         # 24 cases x 3 methods, 10 kill -9
    python tests/benchmarks/batch.py ranks         # two of one thread against one
    python tests/benchmarks/batch.py overhead

Wall times mean something on a machine with two idle cores; the load is printed beside them.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

from scoreinv import solve
from scoreinv.batch import batch
from scoreinv.cases import load_case
from scoreinv.config import BatchSettings, batch_cases, resolve
from scoreinv.io import read_image
from scoreinv.priors import load_prior
from scoreinv.run import baseline

CASES, KILLS = 24, 10
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def tree(cases: int, shape: tuple[int, int, int], steps: int, samples: int = 2) -> dict:
    return {
        "name": "benchmark",
        "run": {
            "input": {"phantom": {"shape": list(shape), "voxel_size": [6.0, 288 / shape[1], 288 / shape[1]]}},
            "scan": {"views": 12},
            "methods": ["fdk", "sart", "dds"],
            "sampling": {"steps": steps, "samples": samples},
        },
        "cases": [{"name": f"case-{k:02d}", "set": {"input.phantom.seed": k}} for k in range(cases)],
    }


def command(config: Path, out: Path, ranks: int | None = None) -> list[str]:
    # The launcher of many processes, GPUs or not: with --cpu accelerate leaves that to MPI.
    launch = ["-m", "accelerate.commands.launch", *(["--multi_gpu"] if ranks and ranks > 1 else ["--cpu"])]
    launch += ["--num_machines=1", "--mixed_precision=no"]
    launch += ["--dynamo_backend=no", "--num_cpu_threads_per_process=1", f"--num_processes={ranks}", "-m", "scoreinv"]
    how = ["-m", "scoreinv"] if ranks is None else launch
    return [sys.executable, *how, "batch", str(config), "--out", str(out)]


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def events(out: Path) -> list[dict]:
    path = out / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def count(out: Path, kind: str) -> int:
    return sum(event["event"] == kind for event in events(out))


def contents(folder: Path) -> dict:
    """Everything in the folder of a case that the time of day does not change."""
    images = {str(path.relative_to(folder)): read_image(path).data for path in sorted(folder.rglob("*.nii.gz"))}
    metrics = json.loads((folder / "metrics.json").read_text())["methods"]
    numbers = {
        f"{name}.{key}": row[key] for name, row in metrics.items() for key in row if key not in ("seconds", "memory")
    }
    assert json.loads((folder / "status.json").read_text())["status"] == "complete"
    return images | numbers | {"config": (folder / "config.yaml").read_text()}


def check_whole(out: Path, expected: dict[str, dict]) -> int:
    """That every case that is there is complete and equal to the uninterrupted one; how many are there."""
    there = [name for name in expected if (out / name).exists()]
    for name in there:
        found = contents(out / name)
        assert found.keys() == expected[name].keys(), name
        for key, value in found.items():
            same = torch.equal(value, expected[name][key]) if torch.is_tensor(value) else value == expected[name][key]
            assert same, (name, key)
    return len(there)


def survive(folder: Path, kills: int = KILLS, cases: int = CASES, seed: int = 0) -> None:
    """Kill -9 at random moments of the work, resume each time; all must end as if nothing had been."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(tree(cases, (4, 24, 24), 6)))
    begun = time.perf_counter()
    assert start(*command(config, folder / "whole")).wait() == 0
    whole = events(folder / "whole")
    drawn = [event["time"] for event in whole if event["event"] == "image"]
    work = drawn[-1] - drawn[0]
    names = [f"case-{k:02d}" for k in range(cases)]
    expected = {name: contents(folder / "whole" / name) for name in names}
    print(f"uninterrupted: {time.perf_counter() - begun:.1f} s, {work:.1f} s from the first image to the last")
    rng, out = random.Random(seed), folder / "killed"
    for kill in range(kills):
        seen = count(out, "image")
        process = start(*command(config, out))
        # Its imports take longer than many a case; from its first image on it is at work.
        while process.poll() is None and count(out, "image") == seen:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 1.5 * work / (kills + 1)))
        process.kill()
        status = process.wait()
        print(f"kill {kill + 1}: status {status}, {check_whole(out, expected)} of {cases} cases whole")
    assert start(*command(config, out)).wait() == 0
    assert check_whole(out, expected) == cases
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    alike = {path.relative_to(folder / "whole").as_posix() for path in (folder / "whole").rglob("*") if path.is_file()}
    assert found == alike, found ^ alike
    summary = json.loads((out / "summary.json").read_text())
    assert summary["counts"] == {"complete": cases, "failed": 0, "pending": 0}
    images = [(event["case"], event["method"], event["number"]) for event in events(out) if event["event"] == "image"]
    again = len(images) - len(set(images))
    print(f"every case complete and equal; {len(set(images))} images, {again} of them drawn twice")


def of_ranks(number: int, folder: Path) -> tuple[float, float]:
    """Wall seconds of all cases by so many processes of one thread, and of their work alone."""
    config, out = folder / "config.yaml", folder / str(number)
    config.write_text(yaml.safe_dump(tree(CASES, (8, 64, 64), 12)))
    begun = time.perf_counter()
    assert start(*command(config, out, number)).wait() == 0
    spent = time.perf_counter() - begun
    times = [event["time"] for event in events(out)]
    return spent, max(times) - min(times)


def ranks(folder: Path) -> None:
    """Two processes against one."""
    print(f"load before: {os.getloadavg()[0]:.2f}")
    spent = {number: of_ranks(number, folder) for number in (1, 2)}
    for number, (wall, work) in spent.items():
        print(f"{number} ranks: {wall:.1f} s, {work:.1f} s at work")
    print(f"two ranks take {spent[2][0] / spent[1][0]:.2f} of one's wall time")


def overhead(folder: Path, cases: int = 4) -> None:
    """CPU and wall seconds of `batch` over those of loading and solving alone, case by case in turn."""
    torch.set_num_threads(1)
    settings = resolve(BatchSettings, tree(cases + 1, (16, 96, 96), 10) | {"threads": 1})
    prior = load_prior("ct-128")
    spent = {"bare": [0.0, 0.0], "batch": [0.0, 0.0]}
    for k, case in enumerate(batch_cases(settings)):
        for name in ("bare", "batch") if k % 2 else ("batch", "bare"):
            begun = time.process_time(), time.perf_counter()
            if name == "bare":
                scan = load_case(case.settings)
                for method in ("fdk", "sart"):
                    baseline(method, scan, {})()
                sampling = case.settings.sampling
                options = {"steps": sampling.steps, "samples": sampling.samples, "progress": False}
                solve(scan.operator, scan.measurements, prior, likelihood=scan.likelihood, **options)
            else:
                [outcome] = batch(settings, [case], folder, say=lambda line: None)
                assert outcome.status == "complete"
            if k:  # the first one compiles
                spent[name][0] += time.process_time() - begun[0]
                spent[name][1] += time.perf_counter() - begun[1]
    for k, clock in enumerate(("CPU", "wall")):
        bare, whole = spent["bare"][k], spent["batch"][k]
        print(f"{clock}: bare {bare:.2f} s, batch {whole:.2f} s: {100 * (whole / bare - 1):.1f} % more")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        {"kills": survive, "ranks": ranks, "overhead": overhead}[sys.argv[1]](Path(scratch))
