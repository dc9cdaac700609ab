"""Seconds of an epoch with its state written each time, and by a thread at most once a minute.

OMP_NUM_THREADS=1 python -m benchmarks.checkpoints --epochs 20 --runs 5
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

from lmd import methods
from lmd.settings import Tree
from lmd.training.progress import Silent
from lmd.training.saving import VARIABLE
from lmd.training.start import train

SETTINGS: Tree = {"encoder": "resnet18", "pretrained": False, "size": 32, "batch": 19, "select": "val_bacc"}


class Watch(Silent):
    """Notes when each epoch has ended, with all that belongs to it."""

    def __init__(self) -> None:
        """Has seen no epoch."""
        self.ended: list[float] = []
        self.processor: list[float] = []

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """The epoch before has ended."""
        self.ended.append(time.perf_counter())
        self.processor.append(time.process_time())


def seconds(data: Path, out: Path, every: str, epochs: int) -> float:
    """Returns the median seconds of an epoch of a ResNet-18; the first is not counted."""
    from lmd.data.dataset.manifest import read_dataset

    os.environ[VARIABLE] = every
    settings = methods.settings_of("ce", recipe={**SETTINGS, "stage1": {"epochs": epochs}})
    watch = Watch()
    train(read_dataset(data), "ce", settings, out, progress=watch)
    times = [after - before for before, after in itertools.pairwise(watch.ended[1:])]
    return statistics.median(times)


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description="what writing the state costs")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    from tests import toy

    with tempfile.TemporaryDirectory() as folder:
        data = toy.make_dataset(Path(folder) / "toy").folder
        found: dict[str, list[float]] = {"0": [], "60": []}
        for run in range(options.runs):
            for every, times in found.items():
                times.append(seconds(data, Path(folder) / f"{every}-{run}", every, options.epochs))
    for every, times in found.items():
        middle, least, most = statistics.median(times), min(times), max(times)
        print(f"{VARIABLE}={every}: {middle:.3f} s an epoch ({least:.3f} to {most:.3f})")


if __name__ == "__main__":
    main()
