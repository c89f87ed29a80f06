"""One self-contained HTML page of a run, or of a batch."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from scoreinv.io import atomic_path
from scoreinv.report.batch import read_batch
from scoreinv.report.folder import read_run

PAGE = "report.html"
# What could end the script that holds the data, or a line of it, as JSON's own escapes.
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def report(folder: Path, out: Path | None = None) -> Path:
    """Write `report.html`: of a run's folder its images, metrics and convergence, of a batch's a row a case.

    The page needs nothing but itself: no network, no other file, except that a batch's links to its cases' pages.

    Args:
        folder: that `scoreinv run` or `scoreinv batch` wrote.
        out: folder for the page, made if it is not there; None is `folder`.

    Returns:
        The page.

    Raises:
        FileNotFoundError: if the folder is not there, or holds neither a run nor a batch.
        ValueError: if a file in it is damaged, or it is of a calibration or of lesions, which have a picture already.
    """
    folder, target = Path(folder), Path(out or folder)
    for found, picture in (("calibration.json", "coverage.png"), ("lesion.json", "lesion.png")):
        if (folder / found).is_file():
            raise ValueError(f"{folder}: holds {found}, expected a run or a batch; look at {folder / picture}")
    if (folder / "summary.json").is_file():
        for case in sorted(path.parent for path in folder.glob("*/metrics.json")):
            report(case, None if out is None else target / case.name)
        kind, tree = "batch", read_batch(folder, target)
    elif (folder / "config.yaml").is_file():
        kind, tree = "run", read_run(folder)
    else:
        raise FileNotFoundError(
            f"{folder}: neither config.yaml of a run nor summary.json of a batch; give the folder of `scoreinv run`"
        )
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(target / PAGE) as temporary:
        temporary.write_text(filled(kind, tree), encoding="utf-8")
    return target / PAGE


def filled(kind: str, tree: dict[str, Any]) -> str:
    """The page of a kind, run or batch, with its data; its policy refuses scripts and styles other than its own."""
    style, script = _template("page.css"), _template("plots.js") + _template(f"{kind}.js")
    policy = f"default-src 'none'; img-src data:; script-src '{_digest(script)}'; style-src '{_digest(style)}'"
    data = json.dumps(tree, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
    return Template(_template(f"{kind}.html")).substitute(
        title=html.escape(tree["name"]), policy=html.escape(policy), style=style, script=script, data=data
    )


def _template(name: str) -> str:
    return (files("scoreinv.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
