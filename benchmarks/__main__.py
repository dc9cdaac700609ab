"""Measures, prints a table and writes it: `python -m benchmarks --device cpu --runs 5`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import growth, icc
from benchmarks.measure import ROOT, Row, in_fresh_process, table
from benchmarks.problem import FULL, QUICK
from lmd.runtime import environment


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns 0 whether or not a target is met: the table says so."""
    options = _parse(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("--device cuda: no GPU is available here", file=sys.stderr)
        return 2
    size = QUICK if options.quick else FULL
    rows: list[Row] = []
    for row in icc.rows(size, options.runs, options.device):
        rows.append(row)
        print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
    if options.large:
        peak = in_fresh_process("large", options.device, quick=options.quick) / 1e9
        name = "memory of all of stage 2: K=1000, C=2048, long tail"
        rows.append(Row(name, peak, 24.0, "available", "GB", "at most", 1))
    found = list(growth.curves(size, options.runs, options.device)) if options.growth else []
    _write(options.out, options.device, rows, found, options.runs)
    print(table(rows))
    for curve in found:
        print(f"{curve.task}: grows with {curve.quantity} to the power {curve.exponent:.2f}")
    return 0


def _parse(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--runs", type=int, default=5, help="medians are over this many runs")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tests the benchmark itself")
    parser.add_argument("--large", action="store_true", help="also K=1000, C=2048: minutes, and 24 GB")
    parser.add_argument("--no-growth", dest="growth", action="store_false", help="leave the curves out")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: at least 1")
    return options


def _write(out: Path, device: str, rows: list[Row], found: list[growth.Curve], runs: int) -> None:
    """Writes the results as JSON, with the machine they are from, the table and the picture."""
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device,
        "runs": runs,
        "environment": {**environment(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "rows": [row.as_dict() for row in rows],
        "growth": [curve.as_dict() for curve in found],
    }
    (out / f"icc-{device}.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (out / f"icc-{device}.md").write_text(table(rows), encoding="utf-8")
    if found:
        growth.draw(found, out / f"growth-{device}.png")


if __name__ == "__main__":
    sys.exit(main())
