"""What a search found: the best settings of each method, and how much its choice flatters them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError
from lmd.evaluation.pairs.comparison import TauRule
from lmd.files import atomic_write
from lmd.folds.folder import opened
from lmd.settings import Settings
from lmd.spreadsheet import guarded_table
from lmd.text import in_columns
from lmd.tuning.optimism import optimism
from lmd.tuning.parts import Part, Request
from lmd.tuning.sampler import Tried
from lmd.tuning.scoring import score_of
from lmd.tuning.space import Value
from lmd.tuning.store import best_of, shown


class Best(Settings):
    """The best trial of a method."""

    method: str
    trials: int
    failed: int
    """trials whose training failed; they count"""
    best: int
    """number of the best trial, from 1"""
    score: float
    """smoothed balanced accuracy on the validation images"""
    middle: float
    """that of the middle trial (median)"""
    flattery: float
    """by how much the choice of the best flatters its score, on average"""
    values: dict[str, Value]
    recipe: str
    """the file with its settings, for `lmd train --recipe`"""


class Outcome(Settings):
    """A search that has ended."""

    data: str
    """title of the data set"""
    images: int
    """validation images; of folds those of all folds"""
    tau: TauRule
    seed: int
    best: list[Best]
    """in the order in which the methods were named"""

    def lines(self) -> list[str]:
        """Returns what a person is told."""
        head = ["method", "best", "trial", "flattered by", "middle", "failed", "settings"]
        rows = [
            [one.method, f"{one.score:.3f}", str(one.best), f"{one.flattery:.3f}", f"{one.middle:.3f}",
             str(one.failed), shown(one.values)]
            for one in self.best
        ]  # fmt: skip
        return [
            f"smoothed balanced accuracy on {self.images} validation images of {self.data}",
            "the test split was not touched",
            "",
            *in_columns([head, *rows]),
            "",
            f"the best of {_counted(self.best[0].trials)} flatters itself: these images chose it",
            "flattered by: how much that adds to its score, says a bootstrap of the validation images",
            "this is no result: train each recipe with several seeds, and compare the runs on test",
            *[f"next: lmd train DATA --recipe {one.recipe} --seed 1 --out RUN" for one in self.best],
        ]


def _counted(trials: int) -> str:
    return "1 trial" if trials == 1 else f"{trials} trials"


def outcome_of(
    data: Dataset | Folds, request: Request, found: Sequence[tuple[Part, Sequence[Tried]]]
) -> Outcome:
    """Returns what a search found, after writing the recipes and tune.json.

    Raises:
        CheckpointError: no trial of a method has a score.
    """
    best = [_best(data, request, part, tried) for part, tried in found]
    sets = list(data.datasets.values()) if isinstance(data, Folds) else [data]
    outcome = Outcome(
        data=data.info.title,
        images=sum(len(one.split("val")) for one in sets),
        tau=request.tau,
        seed=request.seed,
        best=best,
    )
    atomic_write(request.out / "tune.json", outcome.model_dump_json(indent=2) + "\n")
    return outcome


def _best(data: Dataset | Folds, request: Request, part: Part, tried: Sequence[Tried]) -> Best:
    place = best_of(tried)
    if place is None:
        why = next((one.reason for one in tried if one.reason), "none has ended")
        raise CheckpointError(f"no trial of {part.slug} has a score: {why}")
    scores = [one.score for one in tried if one.score is not None]
    return Best(
        method=part.slug,
        trials=len(tried),
        failed=len(tried) - len(scores),
        best=place + 1,
        score=max(scores),
        middle=float(np.median(scores)),
        flattery=round(_flattery(request, part, tried), 6),
        values=dict(tried[place].values),
        recipe=str(_write_recipe(data, request, part, tried, place)),
    )


def _flattery(request: Request, part: Part, tried: Sequence[Tried]) -> float:
    """By how much the best score flatters itself, from what each trial said of each validation image."""
    places = [place for place, one in enumerate(tried) if one.score is not None]
    scored = [score_of(opened(part.folder(request.out, place))) for place in places]
    each = np.stack([one.each for one in scored])
    return optimism(each, scored[0].labels, scored[0].clusters, request.seed)


def _write_recipe(
    data: Dataset | Folds, request: Request, part: Part, tried: Sequence[Tried], place: int
) -> Path:
    """Writes all settings of the best trial, which `lmd train --recipe` takes."""
    folder = part.folder(request.out, place)
    settings = part.settings(data, folder, dict(tried[place].values)).model_dump(mode="json")
    text = yaml.safe_dump({"method": part.method, **settings}, sort_keys=False)
    path = request.out / f"best-{part.slug}.yaml"
    note = (
        f"# The best of {len(tried)} trials on validation images: trial {place + 1} of 'lmd tune'.\n"
        f"# tau: the rule of the search was --tau {request.tau}. Leave the line out for that of the method.\n"
    )
    atomic_write(path, note + text)
    return path


def write_trials(out: Path, part: Part, tried: Sequence[Tried]) -> None:
    """Writes the table of a method's trials, trials-<method>.csv."""
    rows: list[dict[str, Any]] = [
        {"trial": number, "score": one.score, "seconds": one.seconds, **one.values, "failed": one.reason}
        for number, one in enumerate(tried, 1)
    ]
    table: Any = guarded_table(pd.DataFrame(rows))
    atomic_write(out / f"trials-{part.slug}.csv", table.to_csv(index=False))
