"""`--log`: the numbers of a training for TensorBoard or MLflow, too; nothing leaves the machine by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from lmd.errors import LmdError, SettingsError, suggest
from lmd.extras import how_to_install
from lmd.fields import leaf_values
from lmd.planning import Plan
from lmd.records import read_metrics
from lmd.run import RunFolder, read_identity
from lmd.settings import Tree
from lmd.training.progress import Progress, Silent

_log = logging.getLogger(__name__)
Points = dict[str, float]


class Writer(Protocol):
    """Where points go."""

    def begin(self, settings: Tree) -> None:
        """Opens the log and writes the settings, unless they stand there."""
        ...

    def write(self, points: Points, epoch: int) -> None:
        """Writes the points of an epoch, counted from 1 in its stage; those that stand there are left."""
        ...

    def close(self, finished: bool) -> None:
        """Closes the log of a run that has finished, or was stopped."""
        ...


class Logged:
    """Hands on what a training tells its watcher, and writes the numbers of each epoch.

    The log is opened with the first epoch, when the run folder is there. It then gets the epochs that
    metrics.jsonl has: so a resumed run has each point once, also those of a time without `--log`.
    """

    def __init__(self, watcher: Progress | None, run: RunFolder, writer: Writer) -> None:
        """Opens nothing yet."""
        self.watcher, self.run = watcher or Silent(), run
        self.writer: Writer | None = writer
        self.begun = False

    def planned(self, plan: Plan) -> None:
        """The training is about to start."""
        self.watcher.planned(plan)

    def caching(self, done: int, total: int) -> None:
        """Images decoded so far."""
        self.watcher.caching(done, total)

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """An epoch begins; with the first the log does.

        Raises:
            SettingsError: the log cannot be opened.
        """
        if not self.begun:
            self.begun = True
            self._begin()
        self.watcher.started(stage, epoch, epochs)

    def stepped(self, done: int, total: int) -> None:
        """Steps done of the present epoch or M- or E-step."""
        self.watcher.stepped(done, total)

    def finished(self, record: Tree) -> None:
        """An epoch has ended; a log that fails now is given up with a warning, and the training goes on."""
        self._try(lambda writer: writer.write(points_of(record), record["epoch"] + 1))
        self.watcher.finished(record)

    def close(self, finished: bool) -> None:
        """Closes the log."""
        if self.begun:
            self._try(lambda writer: writer.close(finished))

    def _begin(self) -> None:
        assert self.writer is not None
        try:
            self.writer.begin(hyper_parameters(read_identity(self.run)))
            for record in read_metrics(self.run.path) if self.run.metrics.is_file() else []:
                self.writer.write(points_of(record), record["epoch"] + 1)
        except LmdError:
            raise
        except Exception as error:  # Whatever the package or a server raises.
            raise SettingsError(f"--log cannot be written: {_in_one_line(error)}") from error

    def _try(self, write: Callable[[Writer], None]) -> None:
        if self.writer is None:
            return
        try:
            write(self.writer)
        except Exception as error:  # A server may be gone in the middle of a training of days.
            _log.warning("--log is given up, the training goes on: %s", _in_one_line(error))
            self.writer = None


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def points_of(record: Tree) -> Points:
    """Returns the numbers of a line of metrics.jsonl by name: stage, kind, term.

    >>> points_of({"stage": "stage1", "losses": {"total": 2.0}, "validation": {"auc": None}, "seconds": 1.5})
    {'stage1/loss/total': 2.0, 'stage1/seconds': 1.5}
    """
    kinds = {"loss": record["losses"], "validation": record["validation"]}
    named = {f"{kind}/{term}": value for kind, terms in kinds.items() for term, value in terms.items()}
    named["seconds"] = record["seconds"]
    return {f"{record['stage']}/{name}": float(value) for name, value in named.items() if value is not None}


def hyper_parameters(identity: Tree) -> Tree:
    """Returns the settings of a run by their dotted names, without any path.

    >>> hyper_parameters({"method": "a/my.py", "weights_sha256": None, "settings": {"stage1": {"epochs": 2}}})
    {'method': 'my', 'stage1.epochs': 2}
    """
    settings = dict(leaf_values(identity["settings"]))
    if settings.pop("weights", None) is not None:
        settings["weights_sha256"] = identity["weights_sha256"]
    return {"method": Path(identity["method"]).stem, **settings}


@contextmanager
def logging_to(kind: str | None, run: RunFolder, watcher: Progress | None) -> Iterator[Progress | None]:
    """Gives a watcher that writes a log of that kind, too, for the time of a training; None writes none.

    Raises:
        SettingsError: there is no such kind, or its package is not installed.
    """
    if kind is None:
        yield watcher
        return
    check_log(kind)
    both = Logged(watcher, run, _KINDS[kind][1](run))
    try:
        yield both
    except BaseException:
        both.close(finished=False)
        raise
    both.close(finished=True)


def check_log(kind: str) -> None:
    """Refuses a log that cannot be written, before anything is loaded.

    Raises:
        SettingsError: there is no such kind, or its package is not installed.
    """
    if kind not in _KINDS:
        raise SettingsError(f"unknown --log '{kind}'{suggest(kind, _KINDS)}")
    missing = next((name for name in _KINDS[kind][0] if find_spec(name) is None), None)
    if missing is not None:
        raise SettingsError(f"--log {kind} needs the package '{missing}': {how_to_install(kind)}")


def _tensorboard(run: RunFolder) -> Writer:
    from lmd.training.tensorboard_log import TensorBoardLog

    return TensorBoardLog(run)


def _mlflow(run: RunFolder) -> Writer:
    from lmd.training.mlflow_log import MlflowLog

    return MlflowLog(run)


# By kind: the packages that it needs, and what makes a writer.
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[RunFolder], Any]]] = {
    "tensorboard": (("tensorboard",), _tensorboard),
    "mlflow": (("mlflow", "sqlalchemy", "alembic"), _mlflow),
}
