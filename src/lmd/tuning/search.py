"""A search for settings: as many trials for each method, scored on validation images alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError, DataError, SettingsError
from lmd.folds.either import train_either
from lmd.locks import locked
from lmd.run import RunFolder
from lmd.run_folder import is_new
from lmd.settings import CommonSettings
from lmd.training.progress import Progress, Watcher
from lmd.tuning.outcome import Outcome, outcome_of, write_trials
from lmd.tuning.parts import Part, Request, parts_of
from lmd.tuning.sampler import Tried, next_values, optuna
from lmd.tuning.scoring import score_of
from lmd.tuning.space import Value
from lmd.tuning.store import FILE, Store, best_of, shown

Say = Callable[[str], None]


def search(data: Dataset | Folds, request: Request, say: Say, watcher: Watcher) -> Outcome:
    """Runs the trials that are left, methods taking turns, and writes what was found.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong, before anything is trained; or
            no trial of a method has a score.
    """
    optuna()
    _check_data(data)
    _check_out(request.out)
    parts = parts_of(data, request)
    with locked(request.out), Store(request.out) as store:
        for part in parts:
            store.begin(part.slug, part.identity)
        for number in range(request.trials):
            for part in parts:
                _trial(data, part, number, store, request, say, watcher)
        found = [(part, store.tried(part.slug)[: request.trials]) for part in parts]
        return outcome_of(data, request, found)


def _check_data(data: Dataset | Folds) -> None:
    """Refuses data without validation images: the test images are not there to choose settings."""
    for dataset in data.datasets.values() if isinstance(data, Folds) else [data]:
        if dataset.split("val").empty:
            raise DataError(
                f"{dataset.folder} has no validation images, on which trials are scored: prepare it with "
                "--val-share or --val-per-class, or with --folds"
            )


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SettingsError(f"output folder {out} is a file: name a folder")
    if not is_new(out) and not (out / FILE).is_file():
        raise SettingsError(f"output folder {out} is not empty and holds no search ({FILE}): name another")


def _trial(
    data: Dataset | Folds, part: Part, number: int, store: Store, request: Request, say: Say, watcher: Watcher
) -> None:
    """Runs a trial and adds it; one that was added before is left as it is."""
    tried = store.tried(part.slug)
    if number < len(tried):
        return
    values = next_values(part.space, tried, request.seed)
    title = f"{part.slug} {number + 1}/{request.trials}"
    start = time.monotonic()
    score, reason = _scored(data, part, part.folder(request.out, number), values, watcher, title)
    done = Tried(values, score, round(time.monotonic() - start, 1), reason)
    store.add(part.slug, part.space, done)
    say(f"{title}: {'failed' if score is None else f'{score:.4f}'}  {shown(values)}")
    write_trials(request.out, part, [*tried, done])
    _lighten(request.out, part, [*tried, done])


def _scored(
    data: Dataset | Folds, part: Part, place: Path, values: dict[str, Value], watcher: Watcher, title: str
) -> tuple[float | None, str | None]:
    """The score of a trial, or why it failed: settings that diverge are no good, and others may be."""
    fails = (SettingsError, CheckpointError) if isinstance(data, Folds) else SettingsError
    try:
        settings = part.settings(data, place, values)
        with watcher.training(title) as progress:
            return score_of(_trained(data, part, place, settings, progress)).score, None
    except fails as error:
        return None, str(error)


def _trained(
    data: Dataset | Folds, part: Part, place: Path, settings: CommonSettings, progress: Progress
) -> RunFolder:
    return train_either(
        data, place, part.method, settings,
        start=None, resume=not is_new(place), log=None, progress=progress, say=lambda line: None,
    )  # fmt: skip


def _lighten(out: Path, part: Part, tried: Sequence[Tried]) -> None:
    """Removes the weights of all trials but the best: the recipe trains them again."""
    best = best_of(tried)
    for number in range(len(tried)):
        if number != best:
            for file in part.folder(out, number).rglob("model/*.safetensors"):
                file.unlink()
