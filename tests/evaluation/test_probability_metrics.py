"""NLL, Brier score and calibration errors against scikit-learn, slow loops and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from lmd.errors import DataError
from lmd.evaluation.intervals.shares import share_of
from lmd.evaluation.probability.metrics import (
    brier_scores,
    calibration_error,
    check_probabilities,
    class_errors,
    class_errors_by_chance,
    equal_mass,
    equal_width,
    error_by_chance,
    log_losses,
    mean_with_interval,
)
from lmd.evaluation.probability.reliability_bins import reliability, reliability_by_band
from tests.evaluation.probable import SHARES, drawn, posterior

LABELS, SCORES = drawn(600)
P = posterior(SCORES, SHARES, 0.5)
LARGEST = P.max(1)
HITS = (P.argmax(1) == LABELS).astype(float)


def test_nll_and_brier_are_scikit_learns() -> None:
    assert log_losses(LABELS, P).mean() == pytest.approx(sk.log_loss(LABELS, P), abs=1e-12)
    assert brier_scores(LABELS, P).mean() == pytest.approx(
        sk.brier_score_loss(LABELS, P, labels=[0, 1, 2], scale_by_half=False), abs=1e-12
    )


def test_a_probability_of_zero_has_a_finite_loss() -> None:
    assert log_losses(np.array([0]), np.array([[0.0, 1.0]])).tolist() == pytest.approx([69.0776], abs=1e-3)


def test_ece_of_equal_widths_is_that_of_scikit_learns_curve() -> None:
    """calibration_curve has the means of each bin; the weights are the bins' sizes."""
    true, predicted = calibration_curve(HITS, LARGEST, n_bins=15)
    sizes = np.bincount(np.searchsorted(np.linspace(0, 1, 16)[1:-1], LARGEST), minlength=15)
    expected = (np.abs(true - predicted) * sizes[sizes > 0]).sum() / len(HITS)
    assert calibration_error(LARGEST, HITS, equal_width(LARGEST, 15)) == pytest.approx(expected, abs=1e-12)


def test_ece_of_equal_mass_is_that_of_parts_of_the_sorted_cases() -> None:
    order = np.argsort(LARGEST)
    parts = np.array_split(order, 15)
    assert len({len(part) for part in parts}) == 1
    expected = sum(len(part) * abs(LARGEST[part].mean() - HITS[part].mean()) for part in parts) / len(HITS)
    assert calibration_error(LARGEST, HITS, equal_mass(LARGEST, 15)) == pytest.approx(expected, abs=1e-12)


def test_class_wise_ece_by_a_slow_loop() -> None:
    for k, found in enumerate(class_errors(LABELS, P)):
        parts = np.array_split(np.argsort(P[:, k], kind="stable"), 15)
        gaps = [abs((P[part, k] - (LABELS[part] == k)).sum()) for part in parts]
        assert found == pytest.approx(sum(gaps) / len(LABELS), abs=1e-12)


def test_equal_scores_share_a_bin_in_any_order() -> None:
    scores = np.array([0.2, 0.5, 0.5, 0.5, 0.9, 0.1])
    order = np.array([3, 0, 5, 2, 4, 1])
    assert equal_mass(scores, 3)[order].tolist() == equal_mass(scores[order], 3).tolist()
    assert len(set(equal_mass(scores, 3)[1:4])) == 1


def test_the_error_by_chance_is_that_of_simulated_calibrated_cases() -> None:
    random, places = np.random.default_rng(1), equal_mass(LARGEST, 15)
    soft = posterior(SCORES, SHARES, 2.0)
    largest = soft.max(1)
    places = equal_mass(largest, 15)
    errors, by_class = [], []
    for _ in range(400):
        labels = (soft.cumsum(1) < random.random((len(soft), 1))).sum(1).clip(max=2)
        hits = (soft.argmax(1) == labels).astype(float)
        errors.append(calibration_error(largest, hits, places))
        by_class.append(class_errors(labels, soft))
    assert error_by_chance(largest, places) == pytest.approx(np.mean(errors), rel=0.05)
    assert class_errors_by_chance(soft) == pytest.approx(np.mean(by_class, axis=0), rel=0.1)


def test_the_interval_of_a_mean_is_students() -> None:
    values = log_losses(LABELS, P)
    found = mean_with_interval(values, np.arange(600))
    low, high = stats.t.interval(0.95, 599, values.mean(), stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), low, high), rel=1e-3)


def test_copies_within_a_group_do_not_narrow_the_interval_of_a_mean() -> None:
    values = log_losses(LABELS, P)[:50]
    one = mean_with_interval(values, np.arange(50))
    ten = mean_with_interval(np.repeat(values, 10), np.repeat(np.arange(50), 10))
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high))
    assert mean_with_interval(values[:9], np.arange(9)).low is None


def test_the_interval_of_a_share_is_that_of_a_recall() -> None:
    """Of one class the evaluation has it as recall."""
    from lmd.evaluation import measure

    recall = measure(LABELS, P).classes[1].recall
    own = LABELS == 1
    assert share_of(HITS[own], np.arange(600)[own]) == recall
    assert share_of(np.empty(0), np.empty(0)).value is None
    assert share_of(np.ones(1), np.zeros(1)).low is None


def test_bins_of_reliability_hold_all_cases_and_their_shares() -> None:
    bins = reliability(LARGEST, HITS, np.arange(600))
    assert [one.n for one in bins] == [60] * 10
    order = np.argsort(LARGEST)
    assert bins[0].predicted == pytest.approx(LARGEST[order[:60]].mean())
    assert bins[0].observed.value == pytest.approx(HITS[order[:60]].mean())
    assert all(one.observed.low is not None for one in bins)


def test_bins_by_band_pair_each_image_with_each_class_of_the_band() -> None:
    found = reliability_by_band(LABELS, P, np.arange(600), {"head": [0], "tail": [1, 2]})
    assert list(found) == ["all", "head", "tail"]
    assert sum(one.n for one in found["tail"]) == 1200
    rare = sum(one.n * (one.observed.value or 0) for one in found["tail"])
    assert rare == pytest.approx((LABELS > 0).sum())
    # One image is one group, also where it counts for two classes.
    assert found["tail"] != reliability_by_band(LABELS, P, np.arange(600), {"tail": [1, 0]})["tail"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.array([[0.5, 0.4]]), "case 0 are not"),
        (np.array([[0.5, 0.5], [np.nan, 1.0]]), "case 1 are not"),
        (np.array([[1.5, -0.5]]), "case 0 are not"),
        (np.ones(3), r"\[cases, classes\]"),
        (np.empty((0, 3)), r"\[cases, classes\]"),
    ],
)
def test_what_is_no_probability_is_refused_in_one_line(table: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_probabilities(table)
