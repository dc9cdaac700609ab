"""The Python interface: what the command `lmd` does, as functions. `import lmd` offers them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmd.errors import DataError, SettingsError
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder

if TYPE_CHECKING:
    from lmd.data.audit.results import Fingerprint
    from lmd.data.dataset.manifest import Dataset
    from lmd.evaluation.predict import Model
    from lmd.evaluation.results import Evaluation
    from lmd.experiments.engine import Outcome
    from lmd.settings import CommonSettings
    from lmd.training.progress import Progress, Watcher

# What is not given: the paper's schedule, and the defaults of LMD.
METHOD, BUDGET = "lmd", "paper"


def prepare(source: str, out: Path | str, *, progress: Steps = quiet, **options: Any) -> Dataset:
    """Makes a dataset folder and returns it.

    Args:
        source: where the images come from; `lmd sources` lists the names, such as "folder" or "table".
        out: the folder to make; it must not exist, or be empty.
        progress: called with the images read so far and all of them.
        options: the source's own options, such as `root="images"`, `split="lesion"` or `seed=42`.

    Raises:
        SettingsError: no such source or option.
        DataError: an image, a table or the output folder cannot be used; the message names it.
    """
    from lmd.data.dataset import sources
    from lmd.fields import read_options

    module = sources.load(source)
    return module.prepare(read_options(module.Options, options, f"source '{source}'"), Path(out), progress)


def read_dataset(folder: Path | str, *, check_files: bool = True) -> Dataset:
    """Returns a dataset folder after checking all of it.

    Raises:
        DataError: what is wrong; with `check_files=False` images may be missing.
    """
    from lmd.data.dataset import manifest

    folder = Path(folder)
    if not (folder / "dataset.json").exists() and (folder / "fold-0" / "dataset.json").is_file():
        raise DataError(f"{folder} holds one dataset folder for each fold: name one, such as {folder}/fold-0")
    return manifest.read_dataset(folder, check_files)


def inspect(
    data: Dataset | Path | str, *, near: int = 36, look: bool = True, progress: Steps = quiet
) -> Fingerprint:
    """Returns what to know of a data set before training: counts, leaks, copies, damaged files.

    Args:
        data: a dataset folder.
        near: bits of 256 in which two images may differ and count as near duplicates, 0 to 64.
        look: without it no image file is opened.
        progress: called with the images read so far and all of them.
    """
    from lmd.data.audit.fingerprint import fingerprint

    if not 0 <= near <= 64:
        raise SettingsError(f"near = {near} must be from 0 to 64 bits")
    return fingerprint(_dataset(data, check_files=False), progress, near, look)


def train(
    data: Dataset | Path | str,
    *,
    out: Path | str,
    method: Path | str | None = None,
    budget: str = BUDGET,
    recipe: Path | str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    weights: Path | str | None = None,
    partial_weights: bool = False,
    start: RunFolder | Path | str | None = None,
    resume: bool = False,
    log: str | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Trains a method and returns its run folder, with a report and a model card in it.

    Settings come about as defaults < preset < budget < recipe < `seed`, `weights` < `settings`. The test
    split is not touched.

    Args:
        data: a dataset folder.
        out: the run folder to make.
        method: a name that `lmd methods` lists, or the path of a .py file (default: "lmd").
        budget: the schedule: "smoke" (seconds), "short" (12 epochs at 64 pixels) or "paper".
        recipe: a YAML file of settings.
        settings: names and values, {"stage1.epochs": 3}, or one or several texts as `--set` takes them.
        seed: the seed of every random draw (default: the recipe's, or 42).
        weights: a safetensors file for the encoder, "package:NAME", or a run's folder (docs/weights.md).
        partial_weights: accept weights that lack some tensors.
        start: a finished run whose first stage is taken over (`--from`).
        resume: go on with an interrupted run; alone, with that run's own settings.
        log: "tensorboard" or "mlflow" gets the numbers of each epoch, too (docs/logs.md).
        progress: what is told how far the training is.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong, before anything is trained.
    """
    from lmd.fields import as_overrides
    from lmd.reporting.card import write_card
    from lmd.reporting.page import write_report
    from lmd.training import start as training
    from lmd.training.logs import logging_to

    flags: dict[str, Any] = {"seed": seed, "weights": weights and str(weights)}
    flags |= {"partial_weights": partial_weights or None}
    flags = {name: value for name, value in flags.items() if value is not None}
    if resume and budget == BUDGET and not (method or recipe or settings or flags):
        name, resolved = _saved_choice(Path(out))
    else:
        file = None if recipe is None else Path(recipe)
        named = None if method is None else str(method)
        name, resolved = choose(named, budget, file, flags, as_overrides(settings))
    first = None if start is None else _run(start)
    with logging_to(log, RunFolder(Path(out)), progress) as watcher:
        folder = training.train(
            _dataset(data), name, resolved, Path(out), start=first, resume=resume, progress=watcher
        )
    write_report(folder.path)
    write_card(folder.path)
    return folder


def choose(
    method: str | None,
    budget: str = BUDGET,
    recipe: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> tuple[str, CommonSettings]:
    """Returns the method and the settings that these choices give; a recipe may name its method.

    Raises:
        SettingsError: the recipe is for another method, or something is unknown or out of range.
    """
    from lmd import methods
    from lmd.settings import named_method

    name, tree = named_method(method, recipe, METHOD)
    return name, methods.settings_of(name, budget, tree, flags or {}, overrides)


def _saved_choice(out: Path) -> tuple[str, CommonSettings]:
    """The method and the settings of the run that is to go on."""
    from lmd import methods
    from lmd.run import read_identity
    from lmd.settings import resolve

    saved = read_identity(RunFolder(out))
    return saved["method"], resolve(methods.load(saved["method"]).Settings, saved["settings"])


def evaluate(
    run: RunFolder | Path | str,
    split: str = "test",
    *,
    data: Dataset | Path | str | None = None,
    allow_overlap: bool = False,
    progress: Steps = quiet,
) -> Evaluation:
    """Predicts a split and measures it with intervals; writes both, and the report, into the run folder.

    Args:
        run: a finished run.
        split: "train", "val" or "test".
        data: another data set than the run's own; it may lack classes of the run's, and have no new ones.
        allow_overlap: measure images of another data set, too, that the run was trained on.
        progress: called with the images predicted so far and all of them.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set is gone, has a class that the model does not know, has no such split, or has
            images or groups (patients) that the run was trained on.
    """
    from lmd.evaluation.judge import evaluate_run
    from lmd.reporting.card import write_card
    from lmd.reporting.page import write_report

    folder = _run(run)
    dataset = None if data is None else _dataset(data)
    result = evaluate_run(folder, split, dataset, progress, allow_overlap)
    write_card(folder.path)
    write_report(folder.path)
    return result


def load(run: RunFolder | Path | str) -> Model:
    """Returns the trained model of a run; its `predict` answers image files with a table of probabilities.

    Raises:
        CheckpointError: the run has no finished model, or its files do not fit together.
    """
    from lmd.evaluation.predict import load_model

    return load_model(_run(run))


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
        options: `seeds`, `methods=["ce", "lmd"]`, `budget`, `weights`, `partial_weights`, `settings`.

    Raises:
        SettingsError, DataError: one line on what is wrong, before anything is trained.
    """
    from lmd.experiments.engine import reproduce as run_experiment
    from lmd.experiments.request import asked

    return run_experiment(asked(name, data, Path(out), options), say, watcher)


def _dataset(data: Dataset | Path | str, *, check_files: bool = True) -> Dataset:
    return read_dataset(data, check_files=check_files) if isinstance(data, str | Path) else data


def _run(run: RunFolder | Path | str) -> RunFolder:
    return run if isinstance(run, RunFolder) else RunFolder(Path(run))
