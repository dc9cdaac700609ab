"""Medians of times taken in turn, peaks of memory in fresh processes, and the rows of the table."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Row:
    """Two things measured in one run, and their ratio: what we do, and what it is held against."""

    name: str
    ours: float
    other: float
    against: str
    unit: str
    # "at least": other / ours, how many times cheaper. "at most": ours / other, how near to the limit.
    goal: str
    target: float

    @property
    def ratio(self) -> float:
        """The ratio that the target speaks of."""
        return self.other / self.ours if self.goal == "at least" else self.ours / self.other

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio >= self.target if self.goal == "at least" else self.ratio <= self.target

    def as_dict(self) -> dict[str, Any]:
        """Returns the row as JSON values."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def side_by_side(device: str, runs: int, repeat: int = 1, **tasks: Callable[[], Any]) -> dict[str, float]:
    """Returns the median seconds of each task, the tasks taken in turn so that they share the machine's mood.

    A task is called `repeat` times in a row and once before the first measurement; one whose name begins
    with "slow" is called once, and its first call counts.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        if not name.startswith("slow"):
            task()
    for _ in range(runs):
        for name, task in tasks.items():
            calls = 1 if name.startswith("slow") else repeat
            times[name].append(_seconds(device, task, calls) / calls)
    return {name: statistics.median(values) for name, values in times.items()}


def _seconds(device: str, task: Callable[[], Any], calls: int) -> float:
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(calls):
        task()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: str, task: Callable[[], Any]) -> int:
    """Returns the bytes by which a task raises the memory of this process (or of the GPU) at its peak."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        task()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # The peak starts again from what is held now.
    before = _status("VmRSS")
    task()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def in_fresh_process(task: str, device: str, *arguments: int, quick: bool = False) -> int:
    """Returns the bytes that a task of `benchmarks.memory` needs, as it prints them itself."""
    command = [sys.executable, "-m", "benchmarks.memory", task, device, *map(str, arguments)]
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(json.loads(done.stdout.splitlines()[-1])["bytes"])


def table(rows: list[Row]) -> str:
    """Returns the rows as a markdown table."""
    lines = ["| Measured | lmd | held against | ratio | target | met |", "|---|---|---|---|---|---|"]
    for row in rows:
        ours, other = (f"{value:.3g} {row.unit}".strip() for value in (row.ours, row.other))
        lines.append(
            f"| {row.name} | {ours} | {row.against}: {other} | {row.ratio:.3g} "
            f"| {row.goal} {row.target:g} | {'yes' if row.met else 'no'} |"
        )
    return "\n".join(lines) + "\n"
