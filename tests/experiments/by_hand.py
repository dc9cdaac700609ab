"""Which rows cannot differ, found the slow way: from the files of the run folders alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from lmd.files import load_tree

Groups = set[frozenset[str]]


def named(words: str, page: str) -> Groups:
    """The rows that a page names in its notes '- a, b and c WORDS ...'."""
    found = [re.match(rf"- (.*) and (\S+) {words}", line) for line in page.splitlines()]
    return {frozenset([*hit[1].split(", "), hit[2]]) for hit in found if hit}


def same_answers(runs: Path) -> Groups:
    """The rows below a folder of runs whose probabilities agree to a millionth in every seed."""
    answers = {
        row.name: np.concatenate(
            [pd.read_csv(seed / "predictions-test.csv").filter(regex="^p_") for seed in sorted(row.iterdir())]
        )
        for row in runs.iterdir()
    }
    return _groups(answers, lambda first, second: bool(np.abs(first - second).max() <= 1e-6))


def same_encoders(runs: Path) -> Groups:
    """The rows of two stages that share stage 1 and whose encoder did not move by a millionth of anything."""
    entries: dict[str, Any] = {}
    for row in runs.iterdir():
        seeds = sorted(row.iterdir())
        if all(_stages(seed) != {"stage1"} and moved(seed) <= 1e-6 for seed in seeds):
            entries[row.name] = [(seed / "model/stage1.safetensors").read_bytes() for seed in seeds]
    return _groups(entries, lambda first, second: first == second)


def _stages(run: Path) -> set[str]:
    return {json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text().splitlines()}


def moved(run: Path) -> float:
    """The largest relative movement of the encoder's parameters, running means and running variances."""
    after = load_file(run / "model/model.safetensors")
    sums: dict[str, list[float]] = {}
    for name, tensor in load_tree(run / "model/stage1.safetensors")["weights"].items():
        old = tensor.numpy()
        if name.startswith("encoder.") and old.dtype.kind == "f":
            kind = name.split(".")[-1] if "running_" in name else ""
            gap, length = sums.setdefault(kind, [0.0, 0.0])
            new = after[name].astype(np.float64)
            sums[kind] = [gap + ((new - old) ** 2).sum(), length + (old.astype(np.float64) ** 2).sum()]
    return max((gap / length) ** 0.5 for gap, length in sums.values())


def _groups(entries: dict[str, Any], equal: Callable[[Any, Any], bool]) -> Groups:
    groups = {frozenset(b for b in entries if equal(entries[a], entries[b])) for a in entries}
    return {group for group in groups if len(group) > 1}
