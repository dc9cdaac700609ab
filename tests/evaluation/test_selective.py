"""Abstention: risk against coverage, compared with a slow count, and the table of what is answered."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from lmd.evaluation import measure
from lmd.evaluation.selective.abstention import Answers, answered_at, curve_of, risk_coverage, selective_of

BANDS = {"head": [0], "tail": [1, 2]}
NAMES = ["NV", "DF", "VASC"]


def answers(n: int = 120, seed: int = 0) -> Answers:
    """Answers of three classes, the more often right the surer they are."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, n, p=[0.7, 0.2, 0.1])
    confidence = random.uniform(0.34, 1, n).round(2)
    right = random.random(n) < confidence
    predicted = np.where(right, labels, (labels + random.integers(1, 3, n)) % 3)
    return Answers(labels, predicted, confidence, np.arange(n))


def test_the_risk_is_that_of_a_random_order_of_equal_confidences() -> None:
    """The mean over all orders that the confidences allow, counted one by one."""
    wrong, confidence = np.array([1, 0, 1, 0, 0, 1]), np.array([0.9, 0.7, 0.7, 0.7, 0.5, 0.2])
    orders = [o for o in permutations(range(6)) if (np.diff(confidence[list(o)]) <= 0).all()]
    assert len(orders) == 6
    risks = np.mean([np.cumsum(wrong[list(o)]) / np.arange(1, 7) for o in orders], axis=0)
    coverage, risk, area = risk_coverage(wrong, confidence, np.ones(6))
    np.testing.assert_allclose(risk, risks)
    np.testing.assert_allclose(coverage, np.arange(1, 7) / 6)
    assert area == pytest.approx(risks.mean())


def test_the_balanced_risk_is_that_of_classes_of_one_size() -> None:
    """Each image of a class of 2 three times, each of 3 twice: then images alone count the same."""
    labels, wrong = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 0])
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    times = np.where(labels == 0, 3, 2)
    curve = curve_of(labels, wrong.astype(bool), confidence)
    rows = np.repeat(np.arange(5), times)
    coverage, risk, _ = risk_coverage(wrong[rows], -np.arange(12.0), np.ones(12))
    last = np.cumsum(times) - 1
    np.testing.assert_allclose(curve.balanced, risk[last], atol=1e-6)
    np.testing.assert_allclose(curve.balanced_coverage, coverage[last], atol=1e-6)
    assert curve.aurc_balanced == pytest.approx((risk[last] * times).sum() / 12)
    assert curve.balanced[-1] == pytest.approx((1 / 2 + 1 / 3) / 2, abs=1e-6)  # 1 - balanced accuracy.


def test_the_area_lies_between_the_best_and_that_of_chance() -> None:
    some = answers()
    curve = curve_of(some.labels, ~some.right, some.confidence)
    assert curve.aurc_random == pytest.approx(1 - some.right.mean())
    k, n = int((~some.right).sum()), len(some.labels)
    best = np.mean([max(0, i - (n - k)) / i for i in range(1, n + 1)])
    assert curve.aurc_best == pytest.approx(best)
    assert curve.aurc_best < curve.aurc < curve.aurc_random
    equal = curve_of(some.labels, ~some.right, np.ones(n))
    assert equal.aurc == pytest.approx(equal.aurc_random)
    assert len(curve.coverage) == len(curve.risk) == 100
    assert (curve.coverage[-1], curve.risk[-1]) == (1.0, pytest.approx(curve.aurc_random, abs=1e-6))


def test_the_table_says_what_the_answers_are_worth() -> None:
    some = answers()
    result = selective_of(some, NAMES, BANDS, "largest probability")
    assert result.confidence == "largest probability"
    row = next(row for row in result.table if row.answered < 0.85)
    here = some.confidence >= row.threshold
    assert row.n == here.sum()
    assert row.answered == pytest.approx(here.mean())
    assert 0.8 <= row.answered < 0.85
    assert row.accuracy.value == pytest.approx(some.right[here].mean())
    found = measure(some.labels[here], np.eye(3)[some.predicted[here]])
    assert row.bacc == found.metrics["bacc"]
    assert row.bacc.value == pytest.approx(balanced_accuracy_score(some.labels[here], some.predicted[here]))
    tail = some.labels > 0
    assert row.bands["tail"].answered == pytest.approx(here[tail].mean())
    assert row.bands["tail"].accuracy.value == pytest.approx(some.right[here & tail].mean())
    assert result.table[0].answered == 1
    assert [row.without for row in result.table] == [[]] * 7


def test_a_class_without_an_answer_is_named() -> None:
    labels, confidence = np.array([0] * 8 + [1] * 2), np.array([0.9] * 5 + [0.8] * 3 + [0.3] * 2)
    some = Answers(labels, labels.copy(), confidence, np.arange(10))
    result = selective_of(some, NAMES, BANDS, "")
    assert [(row.answered, row.without) for row in result.table] == [
        (1.0, []), (0.8, ["DF"]), (0.5, ["DF"]),
    ]  # fmt: skip
    assert result.table[1].bands["tail"].answered == 0
    assert result.table[1].bands["tail"].accuracy.value is None
    assert result.table[1].bacc.value == 1


def test_a_band_without_images_has_no_curve() -> None:
    labels = np.zeros(4, dtype=int)
    result = selective_of(Answers(labels, labels, np.ones(4), np.arange(4)), NAMES, BANDS, "")
    assert result.bands["tail"] is None
    assert result.table[0].bands["tail"].answered is None
    assert len(result.table) == 1  # All images are equally sure: there is one threshold.


def test_the_threshold_answers_at_least_the_share() -> None:
    confidence = np.array([0.9, 0.8, 0.8, 0.8, 0.1])
    assert [answered_at(share, confidence) for share in (0.01, 0.2, 0.21, 0.8, 0.81, 1.0)] == [
        0.9, 0.9, 0.8, 0.8, 0.1, 0.1,
    ]  # fmt: skip
