"""Methods on the same cases: their differences, p-values and groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lmd.evaluation.intervals.differences import gap_of, paired_difference
from lmd.evaluation.intervals.measured import AllMetrics
from lmd.evaluation.intervals.score import p_value
from lmd.evaluation.intervals.uncertainty import Measured, Sample
from lmd.evaluation.pairs.paired import rank


def measured(recall: float, seed: int, images: int = 100, metric: str = "bacc") -> Measured:
    """A classifier with this recall of each of three classes; the images are as hard for every other."""
    labels = np.repeat(np.arange(3), images)
    hard = np.random.default_rng(0).random(len(labels))
    own = np.random.default_rng(seed).normal(0, 0.05, len(labels))
    predicted = np.where(hard + own < recall, labels, (labels + 1) % 3)
    return AllMetrics(Sample(labels, np.arange(len(labels))), np.eye(3)[predicted]).whole(metric)


def test_p_is_that_of_student() -> None:
    assert p_value(2.5, 1.0, 7) == pytest.approx(2 * stats.t.sf(2.5, 7))
    assert p_value(0.5, 0.01, 1e9) == pytest.approx(2 * stats.norm.sf(5))
    assert p_value(0.0, 0.0) == 1.0
    assert p_value(0.1, 0.0) == 0.0


def test_p_is_the_inverse_of_the_interval() -> None:
    """Below 5% where the interval leaves 0 out, and not where it holds 0."""
    signs = set()
    for recall in np.linspace(0.6, 0.8, 15):
        first, second = measured(float(recall), 1), measured(0.7, 2)
        found = paired_difference(first, second)
        assert found.low is not None
        assert found.high is not None
        outside = not found.low <= 0 <= found.high
        assert outside == (gap_of(first, second).p < 0.05)
        signs.add(outside)
    assert signs == {True, False}


def test_methods_are_ranked_and_those_alike_stand_in_one_group() -> None:
    found = rank(
        {
            "bad": {(s, ""): measured(0.5, 10 + s) for s in range(3)},
            "good": {(s, ""): measured(0.8, 20 + s) for s in range(3)},
            "as good": {(s, ""): measured(0.8, 30 + s) for s in range(3)},
        },
        "bacc",
    )
    assert {row.name for row in found.rows[:2]} == {"good", "as good"}
    assert found.rows[2].name == "bad"
    assert [row.groups for row in found.rows] == ["a", "a", "b"]
    assert [sorted(group) for group in found.groups] == [["as good", "good"]]
    assert {pair.better for pair in found.pairs} == {None, "good", "as good"}
    assert all(pair.about == "methods" and pair.trainings == 3 for pair in found.pairs)


def test_holm_counts_the_pairs() -> None:
    rows = {
        name: {(1, ""): measured(recall, k)} for k, (name, recall) in enumerate([("a", 0.7), ("b", 0.74)])
    }
    alone = rank(rows, "bacc").pairs[0]
    more = rank({**rows, "c": {(1, ""): measured(0.71, 7)}, "d": {(1, ""): measured(0.72, 8)}}, "bacc")
    same = next(pair for pair in more.pairs if {pair.first, pair.second} == {"a", "b"})
    assert alone.p == alone.p_holm == same.p
    assert same.p is not None
    assert same.p_holm is not None
    assert same.p < same.p_holm


def test_one_training_each_says_nothing_of_the_methods() -> None:
    found = rank({"a": {(1, ""): measured(0.5, 1)}, "b": {(1, ""): measured(0.8, 2)}}, "bacc")
    assert found.pairs[0].about == "trained models"
    assert found.pairs[0].better == "b"


def test_only_shared_trainings_are_compared() -> None:
    rows = {
        "a": {(s, ""): measured(0.6, s) for s in (1, 2, 3)},
        "b": {(s, ""): measured(0.7, 9 * s) for s in (2, 3, 4)},
    }
    pair = rank(rows, "bacc").pairs[0]
    assert pair.trainings == 2
    mine = np.mean([rows["b"][(s, "")].value - rows["a"][(s, "")].value for s in (2, 3)])
    assert pair.difference.value == pytest.approx(mine)


def test_trainings_without_a_common_seed_are_compared_as_models() -> None:
    rows = {"a": {(1, ""): measured(0.6, 1)}, "b": {(2, ""): measured(0.9, 2)}}
    pair = rank(rows, "bacc").pairs[0]
    assert (pair.about, pair.better) == ("trained models", "b")


def test_too_few_images_give_no_verdict() -> None:
    rows = {"a": {(1, ""): measured(0.2, 1, 4, "f1")}, "b": {(1, ""): measured(0.9, 2, 4, "f1")}}
    found = rank(rows, "f1")
    assert found.pairs[0].p is None
    assert "needs 10" in (found.pairs[0].reason or "")
    assert found.groups == [["b", "a"]]


def test_balanced_accuracy_is_judged_with_few_images() -> None:
    rows = {"a": {(1, ""): measured(0.1, 1, 6)}, "b": {(1, ""): measured(1.2, 2, 6)}}
    pair = rank(rows, "bacc").pairs[0]
    assert pair.difference.low is not None
    assert pair.better == "b"
    single = {"a": {(1, ""): measured(0.1, 1, 1)}, "b": {(1, ""): measured(1.2, 2, 1)}}
    assert rank(single, "bacc").pairs[0].p is None


def test_the_spread_of_trainings_widens_the_interval() -> None:
    def rows(spread: float) -> dict[str, dict[tuple[int, str], Measured]]:
        first = {(s, ""): measured(0.7 + spread * (s - 2), s) for s in (1, 2, 3)}
        return {"a": first, "b": {(s, ""): measured(0.6, 9 * s) for s in (1, 2, 3)}}

    near, far = rank(rows(0.0), "bacc").pairs[0], rank(rows(0.1), "bacc").pairs[0]
    assert near.p is not None
    assert far.p is not None
    assert near.p < 0.05 < far.p


def test_a_verdict_is_never_surer_than_the_trainings_alone_allow() -> None:
    """Many images, and trainings that differ: the p-value is that of a paired t-test over the trainings."""
    first = {(s, ""): measured(0.7 + 0.02 * (s - 2), s, images=3000) for s in (1, 2, 3)}
    second = {(s, ""): measured(0.66, 9 * s, images=3000) for s in (1, 2, 3)}
    pair = rank({"a": first, "b": second}, "bacc").pairs[0]
    gaps = [first[key].value - second[key].value for key in first]
    assert pair.p == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)
    assert pair.p is not None
    assert pair.difference.low is not None
    assert pair.difference.high is not None
    assert (pair.p < 0.05) == (not pair.difference.low <= 0 <= pair.difference.high)
