"""Thresholds for a sensitivity, decisions by cost, and the expected PPV and NPV at other shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import betaincinv

from lmd.evaluation.intervals.uncertainty import Sample
from lmd.evaluation.probability.costs import MeanCost, cheapest
from lmd.evaluation.probability.expected import Alarms
from lmd.evaluation.probability.thresholds import assured, images_needed, images_to_be_sure, threshold_for
from tests.evaluation.probable import SHARES, drawn, posterior


@pytest.mark.parametrize(("images", "wanted"), [(19, 0.95), (40, 0.9), (200, 0.95), (60, 0.5)])
def test_a_threshold_has_the_wanted_sensitivity_on_average_and_the_assured_one_nearly_always(
    images: int, wanted: float
) -> None:
    random = np.random.default_rng(0)
    reached = []
    for _ in range(2500):
        found = threshold_for(random.normal(size=images), np.arange(images), wanted)
        assert found.value is not None
        reached.append(stats.norm.sf(found.value))
    assert np.mean(reached) == pytest.approx(found.expected, abs=0.005)
    assert found.expected is not None
    assert wanted <= found.expected + 1e-12 < wanted + 1 / images
    assert np.mean(np.array(reached) >= found.assured) == pytest.approx(0.95, abs=0.015)


def test_twenty_images_cannot_promise_99_percent_and_it_says_what_they_can() -> None:
    found = threshold_for(np.linspace(0.1, 0.9, 20), np.arange(20), 0.99)
    assert found.value is None
    assert found.reason == (
        "20 validation images of the class cannot promise a sensitivity of 0.99: it takes 99, and 299 to be "
        "sure of it; 20 can give 0.952 on average"
    )
    assert threshold_for(np.empty(0), np.empty(0), 0.9).value is None
    assert threshold_for(np.array([0.5]), np.arange(1), 0.5).value == 0.5


def test_how_many_images_a_sensitivity_needs() -> None:
    """The well-known sample sizes of non-parametric tolerance limits (Wilks 1941): 59 and 299."""
    assert (images_to_be_sure(0.95), images_to_be_sure(0.99), images_to_be_sure(0.9)) == (59, 299, 29)
    assert threshold_for(np.arange(99.0), np.arange(99), 0.99).value == 0
    assert threshold_for(np.arange(98.0), np.arange(98), 0.99).value is None
    assert images_needed(0.9) == 9
    assert assured(100, 3) == pytest.approx(float(betaincinv(98, 3, 0.05)))


def test_groups_count_where_images_repeat() -> None:
    scores = np.repeat(np.linspace(0, 1, 10), 10)
    assert threshold_for(scores, np.repeat(np.arange(10), 10), 0.95).value is None
    found = threshold_for(scores, np.repeat(np.arange(10), 10), 0.9)
    assert (found.images, found.groups) == (100, 10)
    assert found.value == scores[9]
    assert threshold_for(scores, np.arange(100), 0.9).assured > (found.assured or 1)


@pytest.mark.parametrize("large", [8, 30])
def test_groups_of_very_unequal_size_keep_the_promise_on_average(large: int) -> None:
    """A tenth of the groups have many images, all alike; a new image is one of a random group."""
    random = np.random.default_rng(1)
    sizes = np.where(np.arange(50) % 10 == 0, large, 1)
    clusters = np.repeat(np.arange(50), sizes)
    reached = [
        stats.norm.sf(threshold_for(random.normal(size=50)[clusters], clusters, 0.9).value or 0.0)
        for _ in range(1500)
    ]
    assert 0.895 <= np.mean(reached) < 0.93


LABELS, SCORES = drawn(4000, np.array([0.5, 0.3, 0.2]))
P = posterior(SCORES, np.array([0.5, 0.3, 0.2]))
COSTS = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0], [20.0, 5.0, 0.0]])


def test_the_cheapest_decision_is_the_one_of_a_slow_loop_and_costs_least() -> None:
    found = cheapest(P, COSTS)
    for p, decided in zip(P[:50], found[:50], strict=True):
        expected = [sum(p[j] * COSTS[j, a] for j in range(3)) for a in range(3)]
        assert decided == int(np.argmin(expected))
    sample, prior = Sample.of(LABELS, np.arange(4000)), np.bincount(LABELS) / 4000
    mine, other = (MeanCost.of(sample, one, COSTS, prior) for one in (found, P.argmax(1)))
    assert mine.estimate().value == pytest.approx(COSTS[LABELS, found].mean())
    gain = mine.less(other)
    assert gain.high is not None
    assert gain.high < 0


def test_equal_costs_are_the_most_probable_class() -> None:
    assert (cheapest(P, 1 - np.eye(3)) == P.argmax(1)).all()
    sample = Sample.of(LABELS, np.arange(4000))
    found = MeanCost.of(sample, P.argmax(1), 1 - np.eye(3), np.full(3, 1 / 3)).estimate()
    recalls = [(P.argmax(1) == LABELS)[k == LABELS].mean() for k in range(3)]
    assert found.value == pytest.approx(1 - np.mean(recalls))


def test_a_mean_cost_without_images_of_a_class_is_undefined() -> None:
    here = LABELS < 2
    sample = Sample.of(LABELS[here], np.arange(here.sum()))
    assert MeanCost.of(sample, P[here].argmax(1), COSTS, SHARES).estimate().value is None
    there = MeanCost.of(sample, P[here].argmax(1), COSTS, np.array([0.5, 0.5, 0])).estimate()
    assert there.low is not None


def test_the_interval_of_a_mean_cost_holds_the_truth() -> None:
    """Rare and dear mistakes: 300 repetitions of decisions with known shares."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [400, 60, 20])
    taken = np.array([[0.9, 0.08, 0.02], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    prior, held, apart = np.array([0.9, 0.08, 0.02]), [], []
    truth = float((prior[:, None] * taken * COSTS).sum())
    for _ in range(300):
        first, second = ((taken.cumsum(1)[labels] < random.random((480, 1))).sum(1) for _ in range(2))
        sample = Sample.of(labels, np.arange(480))
        one, two = (MeanCost.of(sample, decided.clip(max=2), COSTS, prior) for decided in (first, second))
        found, gap = one.estimate(), one.less(two)
        held.append(found.low <= truth <= found.high)
        apart.append(gap.low <= 0 <= gap.high)
    assert 0.9 < np.mean(held) < 0.99
    assert 0.92 < np.mean(apart) <= 1.0


def alarms(own: int = 2) -> Alarms:
    return Alarms(LABELS, np.arange(4000), P[:, own] > 0.3, own, 3)


def test_expected_values_at_the_splits_own_shares_are_the_measured_ones() -> None:
    found, prior = alarms(), np.bincount(LABELS) / 4000
    taken, own = found.taken, LABELS == 2
    assert found.ppv(prior).value == pytest.approx(own[taken].mean())
    assert found.npv(prior).value == pytest.approx((~own[~taken]).mean())
    assert found.specificity(prior).value == pytest.approx((~taken[~own]).mean())


def test_a_textbook_ppv() -> None:
    """Sensitivity .9 and specificity .9 at a prevalence of 1 in 100: PPV .083, NPV .999."""
    labels = np.repeat([0, 1], [100, 100])
    taken = np.r_[np.arange(100) < 10, np.arange(100) < 90]
    found = Alarms(labels, np.arange(200), taken, 1, 2)
    prior = np.array([0.99, 0.01])
    assert found.ppv(prior).value == pytest.approx(0.009 / 0.108)
    assert found.npv(prior).value == pytest.approx(0.891 / 0.892)
    assert found.specificity(prior).value == pytest.approx(0.9)
    low, high = found.ppv(prior).low, found.ppv(prior).high
    assert low is not None
    assert high is not None
    assert low < 0.0833 < high


def test_the_specificity_elsewhere_is_that_of_the_mix_of_classes_there() -> None:
    found = alarms()
    only_first = found.specificity(np.array([0.9, 0.0, 0.1])).value
    assert only_first == pytest.approx((~found.taken[LABELS == 0]).mean())


def test_what_is_undefined_is_none() -> None:
    none = Alarms(LABELS, np.arange(4000), np.zeros(4000, dtype=bool), 2, 3)
    assert none.ppv(SHARES).value is None
    assert none.npv(SHARES).value == pytest.approx(0.9)
    here = LABELS < 2
    absent = Alarms(LABELS[here], np.arange(here.sum()), P[here, 2] > 0.3, 2, 3)
    assert absent.ppv(SHARES).value is None
    assert absent.ppv(np.array([0.5, 0.5, 0.0])).value == 0
    assert alarms().specificity(np.array([0.0, 0.0, 1.0])).value is None


@pytest.mark.parametrize(
    ("counts", "rates", "prior"),
    [
        ((400, 100, 20), (0.02, 0.1, 0.8), (0.9, 0.08, 0.02)),
        ((200, 50, 50), (0.01, 0.0, 0.95), (0.6, 0.3, 0.1)),
    ],
)
def test_the_intervals_of_expected_values_hold_the_truth(
    counts: tuple[int, ...], rates: tuple[float, ...], prior: tuple[float, ...]
) -> None:
    """250 repetitions, also with false alarms so rare that none is seen."""
    random, shares, labels = np.random.default_rng(0), np.array(prior), np.repeat([0, 1, 2], counts)
    r = np.array(rates)
    true = {
        "ppv": shares[2] * r[2] / (shares * r).sum(),
        "npv": (shares * (1 - r))[:2].sum() / (shares * (1 - r)).sum(),
        "specificity": 1 - (shares * r)[:2].sum() / shares[:2].sum(),
    }
    held: dict[str, list[bool]] = {name: [] for name in true}
    for _ in range(250):
        taken = random.random(len(labels)) < r[labels]
        found = Alarms(labels, np.arange(len(labels)), taken, 2, 3)
        for name, value in true.items():
            one = getattr(found, name)(shares)
            held[name].append(one.low <= value <= one.high)
    assert all(0.9 < np.mean(each) <= 1 for each in held.values()), held
