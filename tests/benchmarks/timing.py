"""What the benchmarks share: seconds of tasks in turns, the machine they are of, and their tables."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

CPU = torch.device("cpu")
Row = dict[str, Any]
Tasks = Mapping[str, Callable[[], Any]]

PACKAGES = (
    *("scoreinv", "torch", "numpy", "numba", "finufft", "diffusers", "deepinv", "torchkbnufft", "mri-nufft", "sigpy"),
    *("itk-rtk", "parallelproj-core", "astra-toolbox"),
)


def least(tasks: Iterable[Callable[[], Any]], seconds: float) -> list[tuple[float, float]]:
    """The least wall and processor seconds of each task, run in turns, so that a busy machine disturbs all alike.

    Each is run once before, to compile and to warm up, and at least twice.
    """
    tasks = list(tasks)
    for task in tasks:
        task()
    best, rounds, until = [(math.inf, math.inf)] * len(tasks), 0, time.perf_counter() + seconds
    while time.perf_counter() < until or rounds < 2:
        rounds += 1
        for index, task in enumerate(tasks):
            wall, cpu = time.perf_counter(), time.process_time()
            task()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            best[index] = min(best[index][0], spent[0]), min(best[index][1], spent[1])
    return best


def raced(case: str, task: str, tasks: Tasks, seconds: float) -> Row:
    """One row: least milliseconds of ours, or of whoever comes first, and of every peer."""
    times = dict(zip(tasks, least(tasks.values(), seconds), strict=True))
    return {
        "case": case,
        "task": task,
        "wall": {name: 1e3 * wall for name, (wall, _) in times.items()},
        "processor": {name: 1e3 * cpu for name, (_, cpu) in times.items()},
    }


def bandwidth(device: torch.device = CPU) -> float:
    """Bytes a second that memory gives and takes, measured by copying 256 MiB."""
    source = torch.zeros(1 << 26, device=device)
    target = torch.empty_like(source)
    [(wall, _)] = least([finished(lambda: target.copy_(source))], 0.5)
    return 2 * source.nbytes / wall


def arithmetic(device: torch.device = CPU) -> float:
    """Single-precision operations a second, measured by a product of matrices."""
    side = 2048 if device == CPU else 8192
    a, b = (torch.rand(side, side, device=device) for _ in range(2))
    [(wall, _)] = least([finished(lambda: a @ b)], 0.5)
    return 2 * side**3 / wall


def finished(task: Callable[[], Any]) -> Callable[[], Any]:
    """The task until every device has done it."""

    def run() -> Any:
        result = task()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return run


def show(rows: Callable[[float, list[str]], Iterable[Row]], seconds: float) -> None:
    """Print what a benchmark measures, and which peers it found absent."""
    skipped: list[str] = []
    print(markdown(list(rows(seconds, skipped))))
    print("skipped:", ", ".join(sorted(set(skipped))) or "none")


def machine() -> dict[str, Any]:
    """Processor, threads, memory, graphics card, and versions of what is installed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    if shutil.which("bart") is not None:
        told = subprocess.run(["bart", "version"], check=True, capture_output=True, text=True)
        versions["bart"] = told.stdout.strip()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def markdown(rows: list[Row]) -> str:
    """A table of rows; of races the wall milliseconds, and of peers how many times ours that is."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row.get(column, "-") for column in columns) + " |" for row in flat]
    return "\n".join(lines)


def _flat(row: Row) -> dict[str, str]:
    cells = {key: _text(value) for key, value in row.items() if key not in ("wall", "processor")}
    if "wall" in row:
        (_, ours), *_ = row["wall"].items()
        for k, (name, spent) in enumerate(row["wall"].items()):
            cells[f"{name} (ms)"] = f"{spent:.3g}" if k == 0 else f"{spent:.3g} (x {spent / ours:.2f})"
    return cells


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
