"""The Python interface to several runs at once: compared, searched, reproduced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmd.api.data import dataset_of
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder

if TYPE_CHECKING:
    from lmd.data.dataset.folds_folder import Folds
    from lmd.data.dataset.manifest import Dataset
    from lmd.evaluation.pairs.comparison import Comparison
    from lmd.experiments.engine import Outcome
    from lmd.training.progress import Watcher
    from lmd.tuning.outcome import Outcome as Tuned


def compare(
    runs: Sequence[RunFolder | Path | str],
    *,
    data: Dataset | Folds | Path | str | None = None,
    split: str = "test",
    tau: str = "0",
    metric: str = "bacc",
    out: Path | str | None = None,
    allow_overlap: bool = False,
    progress: Steps = quiet,
) -> Comparison:
    """Compares finished runs on the same images: which methods can be told apart (docs/compare.md).

    Runs that differ by seed alone are trainings of one method.

    Args:
        runs: run folders, or folds runs, of two methods at the least.
        data: another data set than the runs' own; without it what lies in the run folders is compared.
        split: "train", "val" or "test".
        tau: how all of them decide: "0" (no shift), "own" (as each run does) or "validation" (chosen).
        metric: what they are ranked by: "bacc", "auc", "f1" ..., or a frequency band such as "tail".
        out: a folder for compare.html, compare.json, compare.csv, pairs.csv and compare.svg.
        allow_overlap: measure images of another data set, too, that a run was trained on.
        progress: called with the images predicted so far and all of them.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong; two runs that do not fit
            together are both named.
    """
    from lmd.comparing.compare import compare_runs, rule_of
    from lmd.reporting.versus import write_versus

    paths = [run.path if isinstance(run, RunFolder) else Path(run) for run in runs]
    dataset = None if data is None else dataset_of(data)
    found = compare_runs(paths, dataset, split, rule_of(tau), metric, allow_overlap, progress)
    if out is not None:
        write_versus(Path(out), found)
    return found


def tune(
    data: Dataset | Folds | Path | str,
    methods: Sequence[str],
    *,
    trials: int,
    out: Path | str,
    budget: str | None = None,
    recipe: Path | str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    seed: int = 42,
    weights: Path | str | None = None,
    partial_weights: bool = False,
    space: Path | str | None = None,
    tau: str = "0",
    allow_code: bool = False,
    say: Callable[[str], None] = lambda line: None,
    watcher: Watcher | None = None,
) -> Tuned:
    """Searches settings of methods on validation images, as many trials of each (docs/tune.md).

    It needs optuna, the extra `tune`. A second call goes on; its trials are those of one call.

    Args:
        data: a dataset folder with validation images, or a folder of folds, each with its own.
        methods: names that `lmd methods` lists, or paths of .py files.
        trials: how many of each method.
        out: the folder for trials and recipes.
        budget, recipe, settings, weights, partial_weights, allow_code: as for `train`, for every trial.
        seed: of every training, and of what is tried.
        space: a YAML file of settings to search, in place of each method's own.
        tau: how trials decide: "0" (no shift), "own" (as each method does) or "validation" (chosen).
        say: called with a line for each trial.
        watcher: what shows how far each training is.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong.
    """
    from lmd.comparing.compare import rule_of
    from lmd.fields import as_overrides
    from lmd.training.progress import SilentWatcher
    from lmd.tuning.parts import Request
    from lmd.tuning.search import search

    flags = {"weights": weights and str(weights), "partial_weights": partial_weights or None}
    file, ranges = (None if path is None else Path(path) for path in (recipe, space))
    request = Request(
        list(methods), trials, Path(out), seed, budget, file, as_overrides(settings), flags, ranges,
        rule_of(tau), allow_code,
    )  # fmt: skip
    return search(dataset_of(data), request, say, watcher or SilentWatcher())


def reproduce(
    name: str,
    data: Dataset | Path | str | Sequence[Dataset | Path | str],
    out: Path | str,
    *,
    say: Callable[[str], None] = lambda line: None,
    watcher: Watcher | None = None,
    **options: Any,
) -> Outcome:
    """Trains and tests the runs of a table or figure of the paper and sets its numbers beside ours.

    Args:
        name: "table1" to "table5", or "fig3" to "fig7".
        data: a data set; for table3 several folders, as "100=FOLDER".
        out: the folder for runs, tables and figures; a second call goes on.
        say: called with a line for each run.
        watcher: what shows how far each training is.
        options: `seeds`, `methods=["ce", "lmd"]`, `budget`, `weights`, `partial_weights`, `settings`, `jobs`,
            `deadline` (seconds after which nothing is trained any more; `late` of the outcome is left).

    Raises:
        SettingsError, DataError: one line on what is wrong, before anything is trained.
    """
    from lmd.experiments.engine import reproduce as run_experiment
    from lmd.experiments.request import asked

    return run_experiment(asked(name, data, Path(out), options), say, watcher)
