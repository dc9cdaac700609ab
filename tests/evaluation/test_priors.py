"""Shifts of the prior, a bias where it is unknown, and EM that recovers shifted shares in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.clustered import Groups, shares_held
from benchmarks.clustered import drawn as drawn_groups
from lmd.errors import DataError
from lmd.evaluation.cases import Cases
from lmd.evaluation.probability.calibration import fit
from lmd.evaluation.probability.label_shift import (
    check_identifiable,
    confusion_of,
    estimate_shares,
    maximised,
)
from lmd.evaluation.probability.priors import shares_of, shifted, with_known_prior
from lmd.evaluation.probability.source import Source
from lmd.evaluation.probability.start import estimated
from tests.evaluation.probable import CLASSES, SHARES, drawn, posterior

ELSEWHERE = np.array([0.2, 0.3, 0.5])


def test_a_shift_gives_the_posterior_at_the_other_shares() -> None:
    _, scores = drawn(100)
    found = shifted(posterior(scores, SHARES), SHARES, ELSEWHERE)
    np.testing.assert_allclose(found, posterior(scores, ELSEWHERE), atol=1e-12)
    np.testing.assert_allclose(shifted(found, ELSEWHERE, SHARES), posterior(scores, SHARES), atol=1e-12)


def test_a_published_example_of_a_shift() -> None:
    """Bayes' theorem: sensitivity .9, specificity .9; at even odds a positive has .9, at 1 in 100 .0833."""
    assert shifted(np.array([[0.1, 0.9]]), np.array([0.5, 0.5]), np.array([0.99, 0.01]))[0, 1] == (
        pytest.approx(0.9 * 0.01 / (0.9 * 0.01 + 0.1 * 0.99))
    )


def test_a_class_without_a_share_is_impossible_and_rows_sum_to_one() -> None:
    found = shifted(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), SHARES, np.array([0.5, 0.5, 0.0]))
    assert found[:, 2].tolist() == [0, 0]
    np.testing.assert_allclose(found.sum(1), 1)


def test_an_absent_class_counts_as_one_image() -> None:
    np.testing.assert_allclose(shares_of(np.array([8, 1, 0])), [0.8, 0.1, 0.1])


def test_with_an_unknown_prior_a_bias_makes_the_validations_shares_the_prior() -> None:
    labels, scores = drawn(3000)
    unknown = posterior(scores, np.array([0.05, 0.6, 0.35]), 0.6)
    made, implied = with_known_prior(labels, unknown, CLASSES)
    np.testing.assert_allclose(implied, np.bincount(labels) / 3000)
    other_labels, other = drawn(3000, ELSEWHERE, seed=1)
    there = shifted(made(posterior(other, np.array([0.05, 0.6, 0.35]), 0.6)), implied, ELSEWHERE)
    np.testing.assert_allclose(there.mean(0), np.bincount(other_labels) / 3000, atol=0.02)
    with pytest.raises(DataError, match="there are none of rare"):
        with_known_prior(labels[labels < 2], unknown[labels < 2], CLASSES)


def test_em_recovers_shifted_shares_and_says_how_sure_it_is() -> None:
    """Over-confident probabilities of unlike shares, calibrated on validation: 60 repetitions."""
    off, held, unshifted = [], [], []
    for seed in range(60):
        labels, scores = drawn(500, seed=seed)
        _, others = drawn(400, ELSEWHERE, seed=1000 + seed)
        here, there = (posterior(part, np.array([0.5, 0.3, 0.2]), 0.5) for part in (scores, others))
        found, _ = estimate_shares(there, np.arange(400), labels, here, CLASSES)
        assert found.values.sum() == pytest.approx(1)
        assert found.warnings == []
        off.append(np.abs(found.values - ELSEWHERE).sum() / 2)
        unshifted.append(np.abs(there.mean(0) - ELSEWHERE).sum() / 2)
        held += [one.low <= share <= one.high for one, share in zip(found.estimates, ELSEWHERE, strict=True)]
    assert np.mean(off) < 0.05
    assert np.mean(unshifted) > 0.08
    assert 0.9 < np.mean(held) <= 1.0


def test_the_shares_are_the_maximum_of_the_likelihood() -> None:
    _, scores = drawn(300, ELSEWHERE)
    ratios = posterior(scores, SHARES) / SHARES
    best = maximised(ratios, SHARES)
    random = np.random.default_rng(0)
    for other in random.dirichlet(np.ones(3), 200) * 0.05 + best * 0.95:
        assert np.log(ratios @ other).sum() <= np.log(ratios @ best).sum() + 1e-9


def test_copies_in_a_group_do_not_narrow_the_interval_of_a_share() -> None:
    labels, scores = drawn(2000)
    here = posterior(scores, SHARES)
    few = posterior(drawn(100, ELSEWHERE, seed=5)[1], SHARES)
    one, _ = estimate_shares(few, np.arange(100), labels, here, CLASSES)
    ten, _ = estimate_shares(np.repeat(few, 10, 0), np.repeat(np.arange(100), 10), labels, here, CLASSES)
    single, _ = estimate_shares(np.repeat(few, 10, 0), np.arange(1000), labels, here, CLASSES)
    widths = [found.estimates[2].high - found.estimates[2].low for found in (one, ten, single)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert widths[2] < 0.6 * widths[0]


def test_groups_of_validation_images_widen_the_interval_of_a_share_until_it_holds() -> None:
    """60 groups of 8 images that are alike (.5), 60 repetitions; measured with 400: 79 and 95 of 100."""
    validation, new = Groups(60, (8, 8)), Groups(1000)
    assert shares_held(validation, new, 60) > 0.9
    assert shares_held(validation, new, 60, by_group=False) < 0.87


def test_an_estimate_for_a_run_knows_the_groups_of_its_validation_images() -> None:
    random = np.random.default_rng(0)
    val = drawn_groups(Groups(60, (8, 8)), SHARES, random)
    new = drawn_groups(Groups(1000), ELSEWHERE, random)
    widths = []
    for groups in (val.clusters, np.arange(len(val.labels))):
        cases = Cases(np.arange(len(val.labels)).astype(str), val.labels, groups, val.probabilities)
        source = Source(CLASSES, "unknown", (7, 2, 1), cases)
        found, _ = estimated(source, new.probabilities, new.clusters)
        widths.append((found.estimates[2].high or 0) - (found.estimates[2].low or 0))
    assert widths[0] > 1.2 * widths[1]


def test_few_validation_images_widen_the_interval_of_a_share() -> None:
    few = posterior(drawn(2000, ELSEWHERE, seed=5)[1], SHARES)
    widths = []
    for number in (60, 2000):
        labels, scores = drawn(number)
        found, _ = estimate_shares(few, np.arange(2000), labels, posterior(scores, SHARES), CLASSES)
        widths.append(found.estimates[2].high - found.estimates[2].low)
    assert widths[0] > 2 * widths[1]


def test_a_class_that_is_not_there_gets_a_share_near_zero_with_an_interval() -> None:
    labels, scores = drawn(1000)
    others = drawn(500, ELSEWHERE, seed=2)
    there = posterior(others[1][others[0] < 2], SHARES)
    found, _ = estimate_shares(there, np.arange(len(there)), labels, posterior(scores, SHARES), CLASSES)
    assert found.estimates[2].low == pytest.approx(0, abs=0.01)
    assert 0 < found.estimates[2].high < 0.1


def test_shares_cannot_be_estimated_without_a_class_in_validation() -> None:
    labels, scores = drawn(300)
    here = posterior(scores, SHARES)
    with pytest.raises(DataError, match="needs validation images of every class; there are none of rare"):
        estimate_shares(here, np.arange(300), labels[labels < 2], here[labels < 2], CLASSES)


def test_shares_of_two_classes_that_cannot_be_told_apart_are_refused() -> None:
    labels, scores = drawn(300)
    scores[:, 1:] = np.random.default_rng(0).normal(size=(300, 2)) * 0.05
    with pytest.raises(DataError, match=r"hardly tells '(less|rare)' from '(less|rare)'.*--prior FILE"):
        check_identifiable(labels, posterior(scores, SHARES), CLASSES)
    labels, scores = drawn(3000, gap=0.6)
    (told,) = check_identifiable(labels, posterior(scores, SHARES), CLASSES)
    assert "poorly known" in told


def test_the_confusion_of_probabilities_has_rows_that_sum_to_one() -> None:
    labels, scores = drawn(300)
    found = confusion_of(labels, posterior(scores, SHARES))
    np.testing.assert_allclose(found.sum(1), 1)
    assert found[2, 2] == pytest.approx(posterior(scores, SHARES)[labels == 2, 2].mean())


def test_a_temperature_does_not_touch_the_shares_that_probabilities_imply() -> None:
    """Why shifts start from calibrated probabilities: over-confident ones shift too little."""
    labels, scores = drawn(3000)
    other_labels, others = drawn(3000, ELSEWHERE, seed=1)
    sharp = posterior(others, SHARES, 0.4)
    made = fit("temperature", labels, posterior(scores, SHARES, 0.4))
    true = np.bincount(other_labels) / 3000
    raw = np.abs(shifted(sharp, SHARES, ELSEWHERE).mean(0) - true).sum()
    calibrated = np.abs(shifted(made(sharp), SHARES, ELSEWHERE).mean(0) - true).sum()
    assert calibrated < 0.02 < raw
