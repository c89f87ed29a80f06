"""All races in one table: this package beside the projectors, NUFFTs and samplers that are installed.

    make bench                                                       (out/bench/bench.json, bench.md)
    python tests/benchmarks/bench.py --only projectors nufft --seconds 5 --out out/bench

Least of several runs in turns; what is not installed is named as skipped. A finished section is written at once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import forecasts
import growth
import nufft
import pet
import projectors
import sampling_steps
from timing import Row, machine, markdown

from scoreinv.io import atomic_path

SECTIONS = {
    "projectors": ("Cone-beam projections", projectors.rows),
    "pet": ("PET projections", pet.rows),
    "nufft": ("Non-Cartesian MRI", nufft.rows),
    "samplers": ("Samplers, a step", sampling_steps.rows),
    "growth": ("Growth", growth.rows),
    "forecasts": ("Predicted and measured", forecasts.rows),
}


def write(out: Path, about: dict[str, object], sections: dict[str, list[Row]], skipped: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    names = sorted(set(skipped))
    with atomic_path(out / "bench.json") as temporary:
        temporary.write_text(json.dumps({"machine": about, "skipped": names, "sections": sections}, indent=1))
    head = ", ".join(f"{key} {value}" for key, value in about.items() if not isinstance(value, dict))
    text = [head, f"skipped, not installed: {', '.join(names) or 'none'}"]
    text += [f"## {SECTIONS[name][0]}\n\n{markdown(rows)}" for name, rows in sections.items()]
    with atomic_path(out / "bench.md") as temporary:
        temporary.write_text("\n\n".join(text) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each race")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    about, sections, skipped = machine(), {}, []
    for name in args.only:
        sections[name] = list(SECTIONS[name][1](args.seconds, skipped))
        write(args.out, about, sections, skipped)
        print(f"## {SECTIONS[name][0]}\n\n{markdown(sections[name])}\n", flush=True)
    print(f"Written to {args.out / 'bench.json'} and bench.md; skipped: {', '.join(sorted(set(skipped))) or 'none'}")


if __name__ == "__main__":
    main()
