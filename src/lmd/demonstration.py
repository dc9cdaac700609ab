"""The demonstration: CE, CE with logit adjustment, and LMD on drawn phantoms, with paired differences."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import NamedTuple, cast

from lmd.api.data import prepare
from lmd.api.runs import evaluate, train
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.evaluation.cases import compare, read_cases
from lmd.evaluation.results import Estimate, Evaluation
from lmd.reporting.comparison import comparison_lines, difference_lines, write_comparison
from lmd.run import RunFolder
from lmd.settings import Tree, merge
from lmd.training.progress import SilentWatcher, Watcher

TITLE = "CE, logit adjustment and LMD on phantoms (drawn images, not real patients)"
# Few images, a small encoder and a short schedule: four minutes on two cores without bf16.
IMAGES = 600
COMMON: Tree = {
    "encoder": "resnet10t",
    "pretrained": False,
    "size": 32,
    "batch": 64,
    "stage1": {"epochs": 10, "optimisation": {"lr": 0.02, "schedule": "cosine"}},
}
LMD: Tree = {
    "stage1": {"consistency_weight": 1.0, "ramp_epochs": 3, "teacher_decay": 0.99},
    "iterations": 3,
    "m_step": {"virtual_per_class": 5000, "optimisation": {"lr": 0.01}},
}
SHOWN = ("bacc", "auc", "head", "medium", "tail")


class Entry(NamedTuple):
    """A run of the demonstration; `start` names the one whose first stage it takes over."""

    name: str
    method: str
    settings: Tree
    start: str | None = None


ENTRIES = (
    Entry("CE", "ce", COMMON),
    Entry("CE + LA", "logit-adjustment", COMMON, start="CE"),
    Entry("LMD", "lmd", merge(COMMON, LMD)),
)


def run_demo(out: Path, seed: int, watcher: Watcher | None = None) -> tuple[Path, list[str]]:
    """Trains and evaluates the methods; returns the comparison page and its tables as lines.

    What a first call left behind is used again, so that a second call only finishes what is missing.
    """
    data = _data(out / "data", seed)
    runs: dict[str, RunFolder] = {}
    for entry in ENTRIES:
        with (watcher or SilentWatcher()).training(entry.name) as progress:
            target = out / entry.name.lower().replace(" + ", "-")
            start = None if entry.start is None else runs[entry.start]
            runs[entry.name] = train(
                data, out=target, method=entry.method, budget="paper", settings=entry.settings, seed=seed,
                start=start, resume=target.exists(), progress=progress,
            )  # fmt: skip
    results = {name: evaluate(run) for name, run in runs.items()}
    differences = _differences(runs)
    note = f"Seed {seed}. Phantoms show that the machinery works; they say nothing about patients."
    about = _about_differences(next(iter(results.values())))
    page = write_comparison(out / "report.html", results, TITLE, note, differences, about, phantom=True)
    return page, [*comparison_lines(results), "", about, *difference_lines(differences)]


def _data(folder: Path, seed: int) -> Dataset:
    if folder.exists():
        return read_dataset(folder)
    return cast("Dataset", prepare("phantom", folder, seed=seed, images=IMAGES))  # Without folds.


def _about_differences(result: Evaluation) -> str:
    """What the differences are of, and what they cannot show; it stands before them."""
    bands = ", ".join(f"{name} {band.n}" for name, band in result.bands.items())
    return (
        f"Paired differences on the same {result.n} test images ({bands}), of one seed. Phantoms are no "
        "patients: the differences show that the machinery works, and not which method is better."
    )


def _differences(runs: dict[str, RunFolder]) -> dict[str, dict[str, Estimate]]:
    """The later of each two runs minus the earlier, on the same test images."""
    found: dict[str, dict[str, Estimate]] = {}
    for (first, one), (second, other) in combinations(runs.items(), 2):
        data = read_dataset(one.path.parent / "data")
        cases = [read_cases(run.predictions("test"), data) for run in (other, one)]
        differences = compare(cases[0], cases[1], data.classes, data.info.bands)
        found[f"{second} - {first}"] = {name: differences[name] for name in SHOWN}
    return found
