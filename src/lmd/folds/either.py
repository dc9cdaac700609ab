"""A data set or its folds, a run or a folds run: each verb does what fits what it is given."""

from __future__ import annotations

from pathlib import Path

from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError, DataError, LmdError
from lmd.evaluation.further import NOTHING, Further
from lmd.evaluation.judge import evaluate_run, recorded
from lmd.evaluation.leaks.own import is_own
from lmd.evaluation.predict import Model, load_model
from lmd.evaluation.results import Evaluation
from lmd.folds.average import load_average
from lmd.folds.evaluate import evaluate_folds, refuse_shared
from lmd.folds.folder import FoldsRun, check_average, is_folds_run, opened, refuse_folds, saved_choice
from lmd.folds.pictures import pictures_of_folds
from lmd.folds.report import write_folds_report
from lmd.folds.running import Say, SideBySide, train_one
from lmd.folds.train import train_folds
from lmd.jobs import refuse_for_one
from lmd.parallel import Steps
from lmd.planning import Plan, plan_of_run
from lmd.planning.choice import Asked, choose, going_on
from lmd.planning.several import PlanOfFolds
from lmd.processes.starters import refuse_several_processes
from lmd.reporting.card import write_card
from lmd.reporting.pictures import pictures_of
from lmd.reporting.report import NO_PICTURES, write_report
from lmd.run import RunFolder, read_model_card
from lmd.run_folder import is_new
from lmd.settings import CommonSettings
from lmd.training.progress import Progress, Silent
from lmd.training.start import check_classes


def choose_either(asked: Asked, data: Dataset | Folds, out: Path, resume: bool) -> tuple[str, CommonSettings]:
    """Returns the method and the settings of a run to begin, or to go on with; all folds have one plan.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong.
    """
    dataset = _one(data)
    if resume and not is_new(out):
        return going_on(asked, dataset, out, *saved_choice(opened(out)))
    return choose(asked, dataset)


def plan_either(data: Dataset | Folds, asked: Asked, taken_over: bool, processes: int = 1) -> Plan:
    """Returns what a training would do, on one data set or on each of its folds.

    Raises:
        SettingsError, DataError: one line on what is wrong.
    """
    dataset = _one(data)
    check_classes(dataset)
    name, settings = choose(asked, dataset)
    plan = plan_of_run(dataset, name, settings, taken_over, processes)
    return PlanOfFolds(plan.outline, data.names) if isinstance(data, Folds) else plan


def _one(data: Dataset | Folds) -> Dataset:
    """The data set that a plan is made for."""
    return data.first if isinstance(data, Folds) else data


def train_either(
    data: Dataset | Folds,
    out: Path,
    method: str,
    settings: CommonSettings,
    *,
    start: RunFolder | None,
    resume: bool,
    log: str | None,
    progress: Progress | None,
    say: Say,
    how: SideBySide | None = None,
) -> RunFolder:
    """Trains on a data set, or on each of its folds, and returns the run with its report and model card.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong.
    """
    if isinstance(data, Folds):
        refuse_several_processes()
        return train_folds(
            data,
            out,
            method,
            settings,
            start=start,
            resume=resume,
            how=how,
            log=log,
            progress=progress,
            say=say,
        )
    if how is not None:
        refuse_for_one(data.folder, how.jobs, how.deadline, how.executor)
    if start is not None:
        refuse_folds(start, f"--from it is for data with folds; for {data.folder} ")
    if is_folds_run(out):
        raise CheckpointError(
            f"{out} is a run on folds, and {data.folder} is one data set: name another --out"
        )
    return train_one(data, out, method, settings, start, resume, log, progress or Silent())


def evaluate_either(
    run: RunFolder,
    split: str,
    data: Dataset | Folds | None,
    progress: Steps,
    allow_overlap: bool,
    asked: Further = NOTHING,
) -> Evaluation:
    """Measures a run, or the folds of one together, and writes its report anew.

    Raises:
        CheckpointError, DataError: one line on what is wrong.
    """
    if isinstance(run, FoldsRun):
        return evaluate_folds(run, split, data, progress, allow_overlap, asked)
    if isinstance(data, Folds):
        raise DataError(
            f"{data.folder} has folds, and {run.path} is one run: name one, such as {data.first.folder}"
        )
    result = evaluate_run(run, split, data, progress, allow_overlap, asked)
    write_card(run.path)
    write_report(run.path)
    return result


def report_either(
    run: RunFolder, split: str, data: Dataset | Folds | None, pictures: bool
) -> tuple[Path, str | None]:
    """Writes the report of a run, and returns its path and why it has no pictures.

    Where no data set is named and the run's own cannot be used, the report is written without pictures.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set that is named is not the one that was measured.
    """
    if isinstance(run, FoldsRun):
        return _folds_report(run, split, data, pictures)
    if not pictures:
        return write_report(run.path), "left out"
    if isinstance(data, Folds):
        raise DataError(f"{data.folder} has folds: name one of them, such as {data.first.folder}")
    try:
        dataset = data or recorded(run)
        made = pictures_of(run, dataset, split, other_data=not is_own(run, read_model_card(run), dataset))
    except LmdError as error:
        if data is not None:
            raise
        return write_report(run.path, None, NO_PICTURES.format(why=error)), str(error)
    return write_report(run.path, made), None


def _folds_report(
    run: FoldsRun, split: str, data: Dataset | Folds | None, pictures: bool
) -> tuple[Path, str | None]:
    refuse_shared(run, split)
    if not pictures:
        return write_folds_report(run), "left out"
    if isinstance(data, Dataset):
        raise DataError(
            f"{data.folder} is one data set, and the pictures of {run.path} are of folds: leave --data out"
        )
    try:
        made = pictures_of_folds(run, data)
    except LmdError as error:
        if data is not None:
            raise
        return write_folds_report(run, None, NO_PICTURES.format(why=error)), str(error)
    return write_folds_report(run, made), None


def load_either(run: RunFolder, average: bool) -> Model:
    """Returns the trained model of a run; of a folds run, where that is asked for, the mean of its models.

    Raises:
        CheckpointError: a model is not finished, or its files do not fit together.
        SettingsError: it is a folds run, and no mean is asked for; or the other way round.
    """
    check_average(run, average)
    return load_average(run) if isinstance(run, FoldsRun) else load_model(run)
