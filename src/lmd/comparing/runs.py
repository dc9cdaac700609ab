"""Finished runs as rows of a comparison: those that differ by seed alone are trainings of one method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmd.errors import SettingsError
from lmd.fields import as_yaml, leaf_values
from lmd.folds.folder import FoldsRun, cards, opened, saved_choice
from lmd.folds.pooled_card import pooled_card
from lmd.model_card import ModelCard
from lmd.run import RunFolder, read_identity, read_model_card
from lmd.settings import Tree

_SHOWN = 2  # Settings that a row's name has at most; beyond that the name of a folder says more.


@dataclass(frozen=True)
class Finished:
    """A finished run, or a run on folds: what it is, and the cards of its models by the name of the fold."""

    folder: RunFolder
    method: str
    settings: Tree
    card: ModelCard
    models: Mapping[str, ModelCard]
    trained_on: str
    """hashes of manifests and weights, and what else tells trainings apart but for their settings"""

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def seed(self) -> int:
        """The seed of every random draw."""
        return int(self.settings["seed"])

    @property
    def kind(self) -> str:
        """What all trainings of one row share."""
        return json.dumps([self.method, self.trained_on, _without_seed(self.settings)], sort_keys=True)


def _without_seed(settings: Mapping[str, Any]) -> Tree:
    return {name: value for name, value in settings.items() if name != "seed"}


def finished(path: Path) -> Finished:
    """Returns the finished run in a folder.

    Raises:
        CheckpointError: it is no run folder, or has not finished.
    """
    run = opened(path)
    if isinstance(run, FoldsRun):
        models = cards(run)
        first = run.folds[run.names[0]]
        trained_on, card = json.dumps(run.info.manifests_sha256), pooled_card(models)
    else:
        card, first = read_model_card(run), run
        models, trained_on = {"": card}, card.dataset.manifest_sha256
    saved = read_identity(first)
    own = json.dumps([saved["method_sha256"], saved["weights_sha256"], saved["from_sha256"] is not None])
    method, settings = saved_choice(run)
    return Finished(run, method, settings, card, models, trained_on + own)


def rows_of(paths: Sequence[Path]) -> dict[str, list[Finished]]:
    """Returns the runs by the name of their row, in the order in which they were named.

    Raises:
        SettingsError: a run is named twice, two are the same training, or all are of one method.
        CheckpointError: one is no finished run.
    """
    _refuse_twice(paths)
    kinds: dict[str, list[Finished]] = {}
    for run in map(finished, paths):
        others = kinds.setdefault(run.kind, [])
        same = next((other for other in others if other.seed == run.seed), None)
        if same is not None:
            raise SettingsError(
                f"{same.path} and {run.path} are the same training ({run.method}, seed {run.seed}): "
                "leave one out"
            )
        others.append(run)
    rows = list(kinds.values())
    if len(rows) < 2:
        raise SettingsError(_one_row(rows))
    return dict(zip(_names(rows), rows, strict=True))


def _one_row(rows: Sequence[Sequence[Finished]]) -> str:
    if not rows:
        return "nothing to compare: name two runs or more"
    runs, method = rows[0], rows[0][0].method
    seeds = "one run" if len(runs) == 1 else f"{len(runs)} runs that differ by seed alone"
    told = f"nothing to compare: {runs[0].path} is {seeds} of {method}"
    return f"{told}; name a run of another method, or with other settings, too"


def _refuse_twice(paths: Sequence[Path]) -> None:
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise SettingsError(f"{path} is named twice")


def _names(rows: Sequence[Sequence[Finished]]) -> list[str]:
    """The method's name where it has one row; otherwise with what tells its rows apart."""
    firsts = [row[0] for row in rows]
    names = [_name(run, [other for other in firsts if other.method == run.method]) for run in firsts]
    again = [
        name if names.count(name) == 1 else f"{name} ({run.path.name})"
        for name, run in zip(names, firsts, strict=True)
    ]
    return [
        name if again.count(name) == 1 else str(run.path) for name, run in zip(again, firsts, strict=True)
    ]


def _name(run: Finished, alike: Sequence[Finished]) -> str:
    short = Path(run.method).stem if run.method.endswith(".py") else run.method
    if len(alike) == 1:
        return short
    flat = [dict(leaf_values(_without_seed(other.settings))) for other in alike]
    mine = dict(leaf_values(run.settings))
    differ = [name for name in mine if name != "seed" and len({as_yaml(one.get(name)) for one in flat}) > 1]
    if not 0 < len(differ) <= _SHOWN:
        return short
    return f"{short} ({', '.join(f'{name}={as_yaml(mine[name])}' for name in differ)})"
