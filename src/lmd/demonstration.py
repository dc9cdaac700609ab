"""The demonstration: CE and LMD on drawn phantom images, evaluated and compared."""

from __future__ import annotations

from pathlib import Path

from lmd import methods
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.sources import phantom
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.results import Evaluation
from lmd.reporting.page import comparison_lines, write_comparison, write_report
from lmd.run import RunFolder
from lmd.settings import Tree, resolve
from lmd.terminal import TrainingProgress
from lmd.training.start import train

TITLE = "CE and LMD on phantoms (drawn images, not real patients)"

# A small image and a schedule for two cores; both methods have the same encoder, images and epochs.
COMMON: Tree = {"pretrained": False, "size": 32, "batch": 64, "precision": "auto"}
STAGE1: Tree = {"epochs": 10, "optimisation": {"lr": 0.02, "schedule": "cosine"}}
RECIPES: dict[str, Tree] = {
    "ce": {**COMMON, "stage1": STAGE1},
    "lmd": {
        **COMMON,
        "stage1": {
            **STAGE1,
            "consistency_weight": 1.0,
            "ramp_epochs": 3,
            "teacher_decay": 0.99,
        },
        "iterations": 3,
        "m_step": {"virtual_per_class": 5000, "optimisation": {"lr": 0.01}},
    },
}


def run_demo(out: Path, seed: int, progress: TrainingProgress) -> tuple[Path, list[str]]:
    """Trains and evaluates both methods; returns the comparison page and its table as lines.

    What a first call left behind is used again, so that a second call only finishes what is missing.
    """
    data = out / "data"
    dataset = read_dataset(data) if data.exists() else phantom.prepare(phantom.Options(seed=seed), data)
    results: dict[str, Evaluation] = {}
    for name, recipe in RECIPES.items():
        progress.prefix = f"{name} "
        results[name.upper()] = _run(dataset, name, {**recipe, "seed": seed}, out / name, progress)
    note = f"Seed {seed}. Phantoms show that the machinery works; they say nothing about patients."
    page = write_comparison(out / "report.html", results, TITLE, note, phantom=True)
    return page, comparison_lines(results)


def _run(dataset: Dataset, name: str, recipe: Tree, out: Path, progress: TrainingProgress) -> Evaluation:
    settings = resolve(methods.load(name).Settings, recipe)
    folder: RunFolder = train(dataset, name, settings, out, resume=out.exists(), progress=progress)
    result = evaluate_run(folder, "test")
    write_report(folder.path)
    return result
