"""Trains a method on every fold of a data set: what is checked before, and what is left to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lmd.data.dataset.folds_folder import Folds
from lmd.errors import CheckpointError, SettingsError, UnfinishedError
from lmd.folds.folder import (
    FoldsRun,
    FoldsRunInfo,
    check_same,
    is_folds_run,
    read_folds_run,
    write_folds_run,
)
from lmd.folds.running import Fold, Say, SideBySide, one_by_one, result_of, side_by_side
from lmd.jobs import AUTO, check_deadline, check_executor, check_jobs
from lmd.planning import plan_of_run
from lmd.planning.several import PlanOfFolds
from lmd.run import RunFolder, check_identity, identity, read_identity
from lmd.run_folder import create
from lmd.settings import CommonSettings
from lmd.training import start as training
from lmd.training.progress import Progress, Silent


def train_folds(
    folds: Folds,
    out: Path,
    method: str,
    settings: CommonSettings,
    *,
    start: RunFolder | None = None,
    resume: bool = False,
    how: SideBySide | None = None,
    log: str | None = None,
    progress: Progress | None = None,
    say: Say = lambda line: None,
) -> FoldsRun:
    """Trains a method on every fold and returns the folds run; each fold has the same settings and seed.

    With `resume` finished folds are kept, begun ones go on, missing ones start. A fold that fails does not
    stop the others.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong; or folds have failed.
        UnfinishedError: a deadline came before all folds were done.
    """
    how = how or SideBySide()
    check_jobs(how.jobs, len(folds.datasets), "folds")
    check_deadline(how.deadline)
    check_executor(how.executor, how.slurm, how.jobs)
    run, first = _run_for(folds, out, method, settings, start, resume)
    plan = _plan(folds, run, first, log)
    _check_begun(plan, method, settings)
    if not all(fold.begun for fold in plan):
        _check_new(run, first, settings)
    write_folds_run(run)
    waiting = [fold for fold in plan if not fold.finished]
    for fold in plan:
        if fold.finished:
            say(f"{fold.name}: finished before, {result_of(fold)}")
    progress = progress or Silent()
    if how.jobs != AUTO:
        how = replace(how, jobs=min(how.jobs, len(waiting)))
    if waiting:
        one = plan_of_run(waiting[0].dataset, method, settings, first is not None)
        progress.planned(PlanOfFolds(one.outline, [fold.name for fold in waiting]))
    late: list[str] = []
    if waiting and how.beside:
        failed, late = side_by_side(waiting, run, settings, how, progress, say)
    else:
        failed = one_by_one(waiting, method, settings, progress, say)
    _refuse_failed(run, failed)
    _tell_late(run, late)
    return run


def _plan(folds: Folds, run: FoldsRun, first: FoldsRun | None, log: str | None) -> list[Fold]:
    """Every training of a folds run."""
    places = run.folds
    starts = {} if first is None else first.folds
    return [
        Fold(name, dataset, places[name], starts.get(name), log) for name, dataset in folds.datasets.items()
    ]


def _run_for(
    folds: Folds, out: Path, method: str, settings: CommonSettings, start: RunFolder | None, resume: bool
) -> tuple[FoldsRun, FoldsRun | None]:
    """The folds run to make or to go on with, and the one whose first stages are taken over."""
    first = _first_stages(start, folds)
    if resume and is_folds_run(out):
        run = read_folds_run(out)
        check_same(run, folds, method, settings)
        again = Path(run.info.start) if first is None and run.info.start is not None else None
        there = again is not None and is_folds_run(again)
        return run, _first_stages(read_folds_run(again), folds) if again and there else first
    if resume and RunFolder(out).settings.is_file():
        raise CheckpointError(
            f"{out} is a run on one data set, and {folds.folder} has folds: name another --out"
        )
    create(out)
    info = FoldsRunInfo(
        title=folds.info.title,
        method=method,
        data=str(folds.folder.resolve()),
        manifests_sha256=folds.info.manifests_sha256,
        settings=settings.model_dump(mode="json"),
        start=None if first is None else str(first.path.resolve()),
    )
    return FoldsRun(out, info), first


def _check_new(run: FoldsRun, first: FoldsRun | None, settings: CommonSettings) -> None:
    """Checks once what every fold begins with, before each of them fails of the same.

    Raises:
        SettingsError, CheckpointError: one line on what is wrong.
    """
    if first is not None:
        return
    if run.info.start is not None:
        raise CheckpointError(
            f"{run.path} takes its first stages from {run.info.start}, which is gone: name it with --from"
        )
    training.check_fresh(settings)


def _first_stages(start: RunFolder | None, folds: Folds) -> FoldsRun | None:
    """The folds run to start from: each fold takes over the first stage of the same fold."""
    if start is None:
        return None
    if not isinstance(start, FoldsRun):
        raise SettingsError(
            f"--from {start.path}: {folds.folder} has folds, so this must be a folds run on the same folds"
        )
    if start.info.manifests_sha256 != folds.info.manifests_sha256:
        raise SettingsError(
            f"--from {start.path}: it was trained on other folds than those of {folds.folder}"
        )
    return start


def _check_begun(plan: list[Fold], method: str, settings: CommonSettings) -> None:
    """Checks that what lies in the folds' folders is theirs, before anything is trained.

    Raises:
        CheckpointError: a run of something else lies there.
    """
    for fold in plan:
        if fold.begun:
            saved = read_identity(fold.folder)
            sha256 = fold.dataset.info.manifest_sha256
            wanted = identity(method, settings, fold.dataset.folder, sha256, fold.start)
            if fold.start is None:
                wanted["from_sha256"] = saved["from_sha256"]
            try:
                check_identity(saved, wanted)
            except CheckpointError as error:
                raise CheckpointError(f"{fold.folder.path}: {error}") from error


def _tell_late(run: FoldsRun, late: list[str]) -> None:
    if late:
        raise UnfinishedError(
            f"time was over before {', '.join(late)} had ended ({len(late)} of {len(run.names)} folds); what "
            f"there is has been kept: go on with {run.go_on}"
        )


def _refuse_failed(run: FoldsRun, failed: dict[str, str]) -> None:
    if failed:
        name, why = next(iter(failed.items()))
        raise CheckpointError(
            f"{len(failed)} of {len(run.names)} folds failed, the first is {name}: {why}; once that is "
            f"mended, go on with {run.go_on}"
        )
