"""The intervals hold the truth as often as docs/statistics.md says; predictions whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import coverage
from benchmarks.coverage import DESIGNS, PARTS, Design, Part, rows_of
from lmd.evaluation.intervals import differences, score, uncertainty

GROUPS = next(part for part in PARTS if part.name == "groups")
DIFFERENCES = next(part for part in PARTS if part.name == "differences")


@pytest.mark.parametrize("number", [2, 3, 5, 9, 10, 11, 20, 50, 200])
def test_the_recall_of_a_class_is_covered_at_all_recalls(number: int) -> None:
    """Exactly, without draws: also between the recalls of the simulation, and near 1."""
    low, high = score.wilson(np.arange(number + 1) / number, float(number), score.quantile())
    recalls = np.r_[np.linspace(0.3, 0.999, 700), 1 - np.logspace(-3, -6, 50)]
    chance = binom.pmf(np.arange(number + 1), number, recalls[:, None])
    covered = (chance * ((low <= recalls[:, None]) & (recalls[:, None] <= high))).sum(1)
    assert covered.min() >= (0.912 if number >= 10 else 0.875)
    assert 0.93 <= covered[:700].mean() <= 0.98


def test_plain_wald_intervals_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: with the deviation at the measured value instead of at the true one."""
    monkeypatch.setattr(coverage.Scale, "interval", _wald)
    rows = rows_of(PARTS[0]._replace(sizes=(5,)), DESIGNS[0], 200, 200)
    assert rows
    assert not any(row.good for row in rows)


def _wald(
    _: score.Scale, value: np.ndarray, at: np.ndarray, variance: np.ndarray, quantile: float
) -> tuple[np.ndarray, np.ndarray]:
    low = _.low
    width = quantile * np.sqrt(variance * (value - low) * (1 - value) / ((at - low) * (1 - at)))
    return value - width, value + width


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_the_metrics_of_a_confusion_matrix_at_small_sizes(design: Design) -> None:
    """The part that takes seconds, at the sizes where a bootstrap covers 50 to 63%."""
    rows = rows_of(PARTS[0]._replace(sizes=(2, 3, 5, 10)), design)
    assert {row.metric for row in rows} > {"recall of one class", "bacc", "mcc", "kappa_unweighted", "f1"}
    assert [row for row in rows if not row.good] == []


def _small(part: Part) -> Part:
    """A part at one size and one recall, for seconds; recall 1 closes the list."""
    return part._replace(sizes=(20,), recalls=(0.7, 1.0))


def test_groups_are_held_and_found_out_where_they_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {row.metric: row.lowest for row in rows_of(_small(GROUPS), DESIGNS[1], 150, 150)}
    for module in (uncertainty, differences):
        monkeypatch.setattr(module, "design_effect", lambda *_: 1.0)
    ignored = {row.metric: row.lowest for row in rows_of(_small(GROUPS), DESIGNS[1], 150, 150)}
    assert min(held.values()) >= 90
    assert max(ignored[name] for name in ("bacc", "f1", "mcc")) < 90


def test_differences_are_held_and_found_out_where_their_variance_is_halved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {row.metric: row.lowest for row in rows_of(_small(DIFFERENCES), DESIGNS[1], 150, 150)}
    whole = differences._of_difference
    monkeypatch.setattr(differences, "_of_difference", lambda *parts: whole(*parts) / 2)
    halved = {row.metric: row.lowest for row in rows_of(_small(DIFFERENCES), DESIGNS[1], 150, 150)}
    assert min(held.values()) >= 90
    assert max(halved[name] for name in ("bacc", "f1", "mcc")) < 90


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_interval_that_is_shown_holds_what_it_says(part: Part, design: Design) -> None:
    rows = rows_of(part, design)
    assert rows
    assert [row for row in rows if not row.good] == []
