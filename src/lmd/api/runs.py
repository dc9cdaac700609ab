"""The Python interface to one run: planned, trained, measured, reported, loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lmd.api.data import dataset_of
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder

if TYPE_CHECKING:
    from lmd.data.dataset.folds_folder import Folds
    from lmd.data.dataset.manifest import Dataset
    from lmd.evaluation.predict import Model
    from lmd.evaluation.results import Evaluation
    from lmd.evaluation.wanted import Prior
    from lmd.planning import Plan
    from lmd.training.progress import Progress


def train(
    data: Dataset | Folds | Path | str,
    *,
    out: Path | str,
    method: Path | str | None = None,
    budget: str | None = None,
    recipe: Path | str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    weights: Path | str | None = None,
    partial_weights: bool = False,
    start: RunFolder | Path | str | None = None,
    resume: bool = False,
    jobs: int | Literal["auto"] = 1,
    deadline: float | None = None,
    executor: str | None = None,
    slurm: Sequence[str] = (),
    log: str | None = None,
    allow_code: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> RunFolder:
    """Trains a method and returns its run folder, with a report and a model card in it; of folds, a FoldsRun.

    Settings come about as defaults < preset < budget < recipe < `seed`, `weights` < `settings`. The test
    split is not touched.

    Args:
        data: a dataset folder.
        out: the run folder to make.
        method: a name that `lmd methods` lists, or the path of a .py file (default: "lmd").
        budget: the schedule: "auto" (default: a plan for these data on this machine, docs/budgets.md),
            "smoke" (seconds), "short" (12 epochs at 64 pixels) or "paper".
        recipe: a YAML file of settings.
        settings: names and values, {"stage1.epochs": 3}, or one or several texts as `--set` takes them.
        seed: the seed of every random draw (default: the recipe's, or 42).
        weights: a safetensors file for the encoder, "package:NAME", or a run's folder (docs/weights.md).
        partial_weights: accept weights that lack some tensors.
        start: a finished run whose first stage is taken over (`--from`).
        resume: go on with an interrupted run, or start one; alone, with that run's own settings.
        allow_code: run a .py file, too, that a recipe or the run folder names, and not `method`.
        jobs: how many folds are trained at once, each in a process with its share of the cores; or "auto".
        deadline: seconds after which no fold is trained any more; what is left goes on with `resume`.
        executor: "slurm" or "local": each fold is a job of its own, through submitit (docs/reproduce.md).
        slurm: options of these jobs, such as ["partition=gpu", "time=60"].
        log: "tensorboard" or "mlflow" gets the numbers of each epoch, too (docs/logs.md).
        progress: what is told how far the training is.
        say: called with a line for each fold that has ended.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong, before anything is trained.
        UnfinishedError: the deadline came before all folds were done.
    """
    from lmd.fields import as_overrides
    from lmd.folds.either import choose_either, train_either
    from lmd.folds.running import SideBySide
    from lmd.planning.choice import Asked

    dataset, named = dataset_of(data), None if method is None else str(method)
    flags = {"seed": seed, "weights": weights and str(weights), "partial_weights": partial_weights or None}
    file = None if recipe is None else Path(recipe)
    asked = Asked(named, budget, file, flags, as_overrides(settings), allow_code)
    name, resolved = choose_either(asked, dataset, Path(out), resume)
    first = None if start is None else run_of(start)
    return train_either(
        dataset, Path(out), name, resolved,
        start=first, resume=resume, how=SideBySide(jobs, deadline, executor, slurm), log=log,
        progress=progress, say=say,
    )  # fmt: skip


def plan(
    data: Dataset | Folds | Path | str,
    *,
    method: Path | str | None = None,
    budget: str | None = None,
    recipe: Path | str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    taken_over: bool = False,
    processes: int = 1,
    allow_code: bool = False,
    **flags: Any,
) -> Plan:
    """Returns what `train` would do with these choices, and how long here; nothing is written.

    `plan(...).lines()` is what the command prints before a training. It takes some seconds: steps of each
    stage are timed on random pixels.

    Args:
        data: a dataset folder.
        method, budget, recipe, settings, allow_code: as for `train`.
        taken_over: the first stage is taken over from another run (`--from`).
        processes: how many train together (`--devices` times `--nodes`).
        flags: `seed`, `weights`, `partial_weights`.

    Raises:
        SettingsError, DataError: one line on what is wrong.
    """
    from lmd.fields import as_overrides
    from lmd.folds.either import plan_either
    from lmd.planning.choice import Asked

    named, file = None if method is None else str(method), None if recipe is None else Path(recipe)
    asked = Asked(named, budget, file, flags, as_overrides(settings), allow_code)
    return plan_either(dataset_of(data), asked, taken_over, processes)


def evaluate(
    run: RunFolder | Path | str,
    split: str = "test",
    *,
    data: Dataset | Folds | Path | str | None = None,
    allow_overlap: bool = False,
    by: Sequence[str] = (),
    coverage: float = 0.9,
    prior: Prior | None = None,
    sensitivity: Sequence[str] | Mapping[str, float] = (),
    cost: Path | str | None = None,
    progress: Steps = quiet,
) -> Evaluation:
    """Predicts a split and measures it with intervals; writes both, and the report, into the run folder.

    Args:
        run: a finished run; the folds of a folds run are measured together.
        split: "train", "val" or "test".
        data: another data set than the run's own; it may lack classes of the run's, and have no new ones.
        allow_overlap: measure images of another data set, too, that the run was trained on.
        by: metadata columns whose values are measured one by one, such as ["sex", "age:10"]; 10 is the width
            of the bins of a column of numbers.
        coverage: the share of images whose prediction sets shall hold the true class.
        prior: how frequent the classes are where the model is used: "train", "uniform", "estimate" (from the
            images of the split, without their labels), a file of shares or {"melanoma": 0.02, ...}.
        sensitivity: what is wanted of a class, {"melanoma": 0.95}: a threshold is chosen on validation.
        cost: a CSV file of what it costs to take one class for another: decisions by the least cost.
        progress: called with the images predicted so far and all of them.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set is gone, has a class that the model does not know, has no such split, or has
            images or groups (patients) that the run was trained on; or a column has no cells to measure; or a
            prior, a threshold or costs cannot be had (docs/probabilities.md).
        SettingsError: there is no such column, coverage, prior or class.
    """
    from lmd.evaluation.further import Further
    from lmd.evaluation.wanted import Wanted
    from lmd.folds.either import evaluate_either

    dataset = None if data is None else dataset_of(data)
    asked = Further([by] if isinstance(by, str) else by, coverage, Wanted(prior, sensitivity, cost))
    return evaluate_either(run_of(run), split, dataset, progress, allow_overlap, asked)


def load(run: RunFolder | Path | str, *, average: bool = False) -> Model:
    """Returns the trained model of a run; its `predict` answers image files with a table of probabilities.

    Of a folds run, `average=True` gives a model with the mean of its folds' probabilities.

    Raises:
        CheckpointError: the run has no finished model, or its files do not fit together.
    """
    from lmd.folds.either import load_either

    return load_either(run_of(run), average)


def report(
    run: RunFolder | Path | str,
    split: str = "test",
    *,
    data: Dataset | Folds | Path | str | None = None,
    pictures: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Writes the report of a run anew, with pictures of its mistakes, and returns the path of report.html.

    Args:
        run: a finished run, measured by `evaluate`.
        split: the split whose mistakes are shown.
        data: the data set that was measured, where it is not where the run knows it.
        pictures: without them no image is opened, and no network.
        say: called with why there are no pictures, where they were wanted and there are none.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set that is named is not the one that was measured.
    """
    from lmd.folds.either import report_either

    dataset = None if data is None else dataset_of(data)
    path, why = report_either(run_of(run), split, dataset, pictures)
    if pictures and why is not None:
        say(f"no pictures: {why}")
    return path


def run_of(run: RunFolder | Path | str) -> RunFolder:
    """Returns a run, which may be given as its folder."""
    from lmd.folds.folder import opened

    return run if isinstance(run, RunFolder) else opened(Path(run))
