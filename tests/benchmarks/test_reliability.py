"""Bits flipped and trainings killed: in small here, in full as a slow test (docs/reliability.md)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def measured(*words: str) -> dict[str, tuple[int, int]]:
    """What the benchmark prints: by name, how often it went right, and how often it was tried."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.reliability", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    lines = [re.fullmatch(r"(.*): (\d+) of (\d+)", line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    return {line[1]: (int(line[2]), int(line[3])) for line in lines if line}


@pytest.mark.slow
def test_a_few_flips_and_kills() -> None:
    found = measured("--flips", "2", "--kills", "1", "--moments", "0", "--seed", "1")
    assert [right for right, _ in found.values()] == [tried for _, tried in found.values()]
    assert sum(tried for _, tried in found.values()) == 2 + 1 + 1


@pytest.mark.slow
def test_all_flips_are_noticed_and_all_kills_are_survived() -> None:
    found = measured("--flips", "200", "--kills", "60", "--moments", "30", "--seed", "16")
    assert [right for right, _ in found.values()] == [tried for _, tried in found.values()]
    assert sum(tried for _, tried in found.values()) == 200 + 60 + 30 + 1
