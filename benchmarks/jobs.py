"""Runs per hour: one after another with one thread, with all cores, and side by side with --jobs.

    python -m benchmarks.jobs --work /tmp/jobs --jobs 2

The same runs are trained in each way, by `lmd reproduce table1` on drawn images. Nothing else should run on
the machine. Seconds of the processor are those of all processes of a way; they suffer less from other work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmd.data.dataset.sources import phantom
from lmd.parallel import num_cores

METHODS = "ce,rs,focal,balanced-softmax"
GOAL = 1.7  # Times the runs per hour of one process with one thread.


@dataclass(frozen=True)
class Way:
    """How the runs are trained, and what that took."""

    name: str
    runs: int
    wall: float
    processor: float

    @property
    def per_hour(self) -> float:
        """The runs in an hour of wall time."""
        return 3600 * self.runs / self.wall


def main(arguments: list[str] | None = None) -> int:
    """Trains the runs in each way and prints the table; returns 0 whether or not the goal is met."""
    options = _parse(arguments)
    shutil.rmtree(options.work, ignore_errors=True)
    phantom.prepare(phantom.Options(images=options.images, imbalance=10, size=64), options.work / "data")
    _reproduce("warm", options, 1, 1, methods="ce")  # Decodes the images, and fills the disk's memory.
    ways = [
        _reproduce("one thread", options, 1, 1),
        _reproduce(f"{options.jobs} threads", options, options.jobs, 1),
        _reproduce(f"--jobs {options.jobs}", options, 1, options.jobs),
    ]
    print("\n".join(_table(ways)))
    if options.out is not None:
        found = {"cores": num_cores(), "load": os.getloadavg(), "ways": [asdict(way) for way in ways]}
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _parse(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for data and runs; it is emptied")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--images", type=int, default=600, help="of the largest class")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", type=Path, help="a JSON file")
    return parser.parse_args(arguments)


def _reproduce(name: str, options: Any, threads: int, jobs: int, methods: str = METHODS) -> Way:
    """Trains all runs in one way."""
    settings = (f"encoder={options.encoder}", "pretrained=false", f"size={options.size}",
                f"stage1.epochs={options.epochs}")  # fmt: skip
    words = ["reproduce", "table1", "--data", options.work / "data", "--out", options.work / name,
             "--budget", "short", "--methods", methods, "--seeds", options.seeds, "--jobs", jobs]  # fmt: skip
    words += [word for text in settings for word in ("--set", text)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    before, begun = _processor(), time.monotonic()
    command = [sys.executable, "-m", "lmd", *map(str, words)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, processor = time.monotonic() - begun, _processor() - before
    return Way(name, len(methods.split(",")) * options.seeds, wall, processor)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _table(ways: list[Way]) -> list[str]:
    first = ways[0]
    lines = ["| way | runs an hour | against one thread | processor seconds a run |", "|---|---|---|---|"]
    for way in ways:
        ratio, each = way.per_hour / first.per_hour, way.processor / way.runs
        lines.append(f"| {way.name} | {way.per_hour:.0f} | {ratio:.2f} | {each:.1f} |")
    return [*lines, f"goal: --jobs at least {GOAL} times one thread, and not below the threads"]


if __name__ == "__main__":
    sys.exit(main())
