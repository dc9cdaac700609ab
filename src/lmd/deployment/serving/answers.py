"""What a network says of images becomes answers: the same table as `lmd predict`, and warnings in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from lmd.deployment.serving.about import Knowledge
from lmd.deployment.serving.engine import Answered
from lmd.deployment.serving.refusals import RefusedError, in_words_of_requests
from lmd.deployment.serving.schema import Answer, Ask, AskAtPrior, AtShares, Prior
from lmd.errors import LmdError
from lmd.evaluation.answers import answer_table, told
from lmd.evaluation.prior_answers import answers_at_prior, prior_lines
from lmd.evaluation.selective.unlikeness_result import USUAL
from lmd.evaluation.set_answers import refuse_both
from lmd.evaluation.wanted import AtPrior, StatedPrior, checked_prior
from lmd.text import listed, numbered

_SUM = 0.01  # How far from 1 the probabilities of an image may add up: they may have been rounded.
_STRANGE = (
    f"This image is more unlike what the model has seen than {USUAL:.0%} of the validation images: do not "
    "trust the answer."
)


class Table:
    """The answers to the images of a request: a row for each, and what holds for all of them."""

    def __init__(
        self, known: Knowledge, answered: Sequence[Answered], numbers: Sequence[int], ask: Ask
    ) -> None:
        """Makes it; `numbers` are those of the images in the request.

        Raises:
            RefusedError: sets or a prior are wanted that this run cannot give.
        """
        self.known = known
        self.members = [one.members for one in answered]
        self.rows = _table(known, answered, numbers)
        self.sets: list[list[str]] | None = None
        self.notes: list[str] = []
        try:
            self._add(ask)
        except LmdError as error:
            raise RefusedError(422, in_words_of_requests(error)) from None

    def _add(self, ask: Ask) -> None:
        """Adds the sets that are wanted, or shifts to the prior."""
        refuse_both(ask.prior, ask.sets)
        words = told(self.known.card)
        if ask.prior is not None:
            stated = _stated(self.known, ask.prior)
            self.rows, found = answers_at_prior(self.rows, self.known.source, stated)
            self.notes += prior_lines(self.known.card.classes, found)
            self.members = [None] * len(self.rows)  # They are of the probabilities as they were.
        elif words is not None:
            self.notes.append(words)
        if ask.sets is not None:
            promise = self.known.promise(ask.sets)
            self.sets = promise.sets_of(self.rows)
            self.rows = promise.added_to(self.rows)
            self.notes += promise.lines()

    def answers(self) -> list[Answer]:
        """Returns each row as an answer."""
        sets = self.sets or [None] * len(self.rows)
        return list(map(self._answer, self.rows.to_dict("records"), self.members, sets))

    def _answer(self, row: dict[Any, Any], members: np.ndarray | None, inside: list[str] | None) -> Answer:
        classes = self.known.card.classes
        shifts = f"d_{classes[0]}" in row
        return Answer(
            image=row["id"],
            predicted=row["predicted"],
            probabilities={name: row[f"p_{name}"] for name in classes},
            decisions={name: row[f"d_{name}"] for name in classes} if shifts else None,
            ranges=None if members is None else _ranges(classes, members),
            set=inside,
            unlike=row.get("unlike"),
            warnings=self._warnings(row["predicted"], inside or [], row.get("unlike")),
        )

    def _warnings(self, predicted: str, inside: Sequence[str], unlike: float | None) -> list[str]:
        strange = [_STRANGE] if unlike is not None and unlike >= USUAL else []
        return [*strange, *rare_warnings(self.known, predicted, inside)]


def rare_warnings(known: Knowledge, predicted: str, inside: Sequence[str]) -> list[str]:
    """Returns what must be known of an answer where rare classes are concerned."""
    found: list[str] = []
    if predicted in known.rare:
        count = known.card.training_counts[known.card.classes.index(predicted)]
        words = known.words.get(predicted)
        more = (
            f" How well it is found: {words.level}." if words else " How well it is found was not measured."
        )
        found.append(
            f"{predicted} is a rare class: the model has learnt it from {numbered(count, 'image')}.{more}"
        )
    others = [name for name in inside if name in known.rare and name != predicted]
    if others:
        are, them = ("is a rare class", "it") if len(others) == 1 else ("are rare classes", "them")
        found.append(f"{listed(others)} {are}, and not ruled out: the prediction set holds {them}.")
    return found


def _ranges(classes: Sequence[str], members: np.ndarray) -> dict[str, tuple[float, float]]:
    """The smallest and the largest probability that one of several models gives each class."""
    low, high = members.min(0).tolist(), members.max(0).tolist()
    return dict(zip(classes, zip(low, high, strict=True), strict=True))


def _table(known: Knowledge, answered: Sequence[Answered], numbers: Sequence[int]) -> pd.DataFrame:
    model = known.model
    logits = np.stack([one.logits for one in answered])
    features = torch.stack([one.features for one in answered])
    unlike = None if model.unlikeness is None else model.unlikeness.unlike(features)
    return answer_table(logits, pd.DataFrame({"id": numbers}), model.card, unlike)


def _stated(known: Knowledge, prior: Prior) -> StatedPrior:
    """The prior, checked; it is a word of ours or shares, and never the name of a file."""
    return checked_prior(prior, known.source)


def at_shares(known: Knowledge, ask: AskAtPrior) -> AtShares:
    """Returns probabilities that were given before, as they are at stated shares of the classes.

    Raises:
        RefusedError: they are not probabilities of these classes, or the prior cannot be had of this run.
    """
    table = _as_table(_checked(ask.probabilities, known.card.classes), known.card.classes)
    try:
        moved, found = answers_at_prior(table, known.source, _stated(known, ask.prior))
    except LmdError as error:
        raise RefusedError(422, in_words_of_requests(error)) from None
    return _as_shares(known, moved, found)


def _as_shares(known: Knowledge, moved: pd.DataFrame, found: AtPrior) -> AtShares:
    classes, predicted = known.card.classes, moved["predicted"].tolist()
    return AtShares(
        predicted=predicted,
        warnings=[rare_warnings(known, name, []) for name in predicted],
        probabilities=moved[[f"p_{name}" for name in classes]].to_numpy().tolist(),
        shares=dict(zip(classes, found.estimates, strict=True)),
        notes=prior_lines(classes, found),
    )


def _as_table(probabilities: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in classes])
    return table.assign(predicted=np.array(classes)[probabilities.argmax(1)])


def _checked(rows: Sequence[Sequence[float]], classes: Sequence[str]) -> np.ndarray:
    wrong = next((place for place, row in enumerate(rows) if len(row) != len(classes)), None)
    if wrong is not None:
        raise RefusedError(
            422, f"probabilities: row {wrong + 1} must have {len(classes)} numbers, one for each class"
        )
    found = np.array(rows, dtype=np.float64)
    total = found.sum(1)
    if (abs(total - 1) > _SUM).any():
        row = int((abs(total - 1) > _SUM).argmax())
        raise RefusedError(422, f"probabilities: row {row + 1} must sum to 1, and sums to {total[row]:g}")
    return found / total[:, None]
