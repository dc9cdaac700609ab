"""Measures, prints a table and writes it: `python -m benchmarks --device cpu --runs 5`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import growth, icc, inference, stage1
from benchmarks.measure import ROOT, Row, in_fresh_process, table
from benchmarks.problem import FULL, QUICK, Size
from lmd.runtime import environment

PARTS = ("icc", "stage1", "inference")


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns 0 whether or not a target is met: the table says so."""
    options = _parse(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("--device cuda: no GPU is available here", file=sys.stderr)
        return 2
    for part in options.only or PARTS:
        rows: list[Row] = []
        for row in _rows(part, options):
            rows.append(row)
            _write(options, part, rows, [])  # What there is, should the time be over.
            print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
        curves: list[growth.Curve] = []
        if part == "icc" and options.growth:
            curves = list(growth.curves(_size(options), options.runs, options.device))
        _write(options, part, rows, curves)
        print(table(rows))
        for curve in curves:
            print(f"{curve.task}: grows with {curve.quantity} to the power {curve.exponent:.2f}")
    return 0


def _rows(part: str, options: Any) -> Iterator[Row]:
    if part == "stage1":
        yield from stage1.rows(options.runs, options.device, options.quick)
    elif part == "inference":
        yield from inference.rows(options.runs, options.device, options.quick)
    else:
        yield from icc.rows(_size(options), options.runs, options.device)
        if options.large:
            peak = in_fresh_process("large", options.device, quick=options.quick) / 1e9
            name = "memory of all of stage 2: K=1000, C=2048, long tail"
            yield Row(name, peak, 24.0, "available", "GB", "at most", 1)


def _size(options: Any) -> Size:
    return QUICK if options.quick else FULL


def _parse(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be repeated")
    parser.add_argument("--runs", type=int, default=5, help="medians are over this many runs")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tests the benchmark itself")
    parser.add_argument("--large", action="store_true", help="also K=1000, C=2048: minutes, and 24 GB")
    parser.add_argument("--no-growth", dest="growth", action="store_false", help="leave the curves out")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: at least 1")
    return options


def _write(options: Any, part: str, rows: list[Row], curves: list[growth.Curve]) -> None:
    """Writes a part's results as JSON, with the machine they are from, the table and the picture."""
    out, device = options.out, options.device
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device,
        "runs": options.runs,
        "environment": {**environment(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "rows": [row.as_dict() for row in rows],
        "growth": [curve.as_dict() for curve in curves],
    }
    (out / f"{part}-{device}.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (out / f"{part}-{device}.md").write_text(table(rows), encoding="utf-8")
    if curves:
        growth.draw(curves, out / f"growth-{device}.png")


if __name__ == "__main__":
    sys.exit(main())
