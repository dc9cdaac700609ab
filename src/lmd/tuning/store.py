"""The trials of a search in one SQLite file, which optuna's own tools read, too."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmd.errors import CheckpointError
from lmd.settings import Tree
from lmd.tuning.sampler import Tried, distributions, optuna
from lmd.tuning.space import Choice, Range, Value

FILE = "trials.db"
_IDENTITY, _REASON, _SECONDS = "lmd", "reason", "seconds"


class Store:
    """The trials of each method, each a study of optuna's."""

    def __init__(self, folder: Path) -> None:
        """Opens the file in a folder, or makes it."""
        url: Any = importlib.import_module("sqlalchemy.engine").URL  # It comes with optuna.
        place = url.create("sqlite", database=str(folder / FILE))
        self.path = folder / FILE
        try:
            self.storage = optuna().storages.RDBStorage(place.render_as_string(hide_password=False))
        except Exception as error:  # sqlalchemy's errors, and optuna's, of what is no database of theirs.
            raise CheckpointError(f"{self.path} is damaged: {_first_line(error)}") from error
        self.studies: dict[str, Any] = {}

    def __enter__(self) -> Store:
        """Gives itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def begin(self, method: str, identity: Tree) -> None:
        """Begins the trials of a method, or goes on with them.

        Raises:
            CheckpointError: they were begun with other settings; the first difference is named.
        """
        package = optuna()
        study = package.create_study(
            study_name=method, storage=self.storage, direction="maximize", load_if_exists=True
        )
        wanted = json.loads(json.dumps(identity))
        saved = study.user_attrs.get(_IDENTITY)
        if saved is None:
            study.set_user_attr(_IDENTITY, wanted)
        elif saved != wanted:
            raise CheckpointError(
                f"{self.path} holds another search of {method}: {_first_change(saved, wanted)}"
            )
        self.studies[method] = study

    def tried(self, method: str) -> list[Tried]:
        """Returns the trials of a method so far, in order."""
        return [
            Tried(
                trial.params, trial.value, trial.user_attrs.get(_SECONDS, 0.0), trial.user_attrs.get(_REASON)
            )
            for trial in self.studies[method].get_trials(deepcopy=False)
        ]

    def add(self, method: str, space: Mapping[str, Range | Choice], tried: Tried) -> None:
        """Adds a trial that has ended, at once and whole."""
        package = optuna()
        states = package.trial.TrialState
        self.studies[method].add_trial(
            package.trial.create_trial(
                state=states.COMPLETE if tried.score is not None else states.FAIL,
                params=dict(tried.values),
                distributions=distributions(space),
                value=tried.score,
                user_attrs={
                    _SECONDS: tried.seconds,
                    **({} if tried.reason is None else {_REASON: tried.reason}),
                },
            )
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _first_change(saved: Tree, wanted: Tree) -> str:
    """What is another now, in words."""
    names = [name for name in dict.fromkeys((*saved, *wanted)) if saved.get(name) != wanted.get(name)]
    return f"{names[0]} was {saved.get(names[0])!r}, now {wanted.get(names[0])!r}; choose another --out"


def best_of(tried: Sequence[Tried]) -> int | None:
    """Returns the place of the best trial; the first of equals, None where none has a score."""
    scores = [(one.score, -place) for place, one in enumerate(tried) if one.score is not None]
    return -max(scores)[1] if scores else None


def shown(values: Mapping[str, Value]) -> str:
    """Returns the values of a trial on one line.

    >>> shown({"stage1.optimisation.lr": 0.01234, "form": "a"})
    'stage1.optimisation.lr=0.01234 form=a'
    """
    return " ".join(f"{name}={value}" for name, value in values.items())
