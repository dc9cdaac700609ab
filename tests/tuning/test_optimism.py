"""How much the best of many trials flatters itself."""

from __future__ import annotations

import numpy as np
import pytest

from lmd.tuning.optimism import mean_of_classes, optimism

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_the_mean_is_over_classes() -> None:
    each = np.array([[1.0, 0.0, 1.0, 1.0]])
    labels = np.array([0, 0, 1, 2])
    times = np.array([[1.0, 1.0], [1.0, 3.0], [2.0, 0.0], [0.0, 0.0]])
    assert mean_of_classes(each, labels, times).tolist() == [[pytest.approx(0.75), pytest.approx(0.25)]]


def test_of_trials_that_are_equally_good_it_is_what_chance_adds() -> None:
    """The scores are noise around .5: all that the best has above .5 is flattery."""
    true, found = [], []
    for seed in range(60):
        each = np.random.default_rng(seed).normal(0.5, 0.3, (20, len(LABELS)))
        best = mean_of_classes(each, LABELS, np.ones((len(LABELS), 1))).max()
        true.append(best - 0.5)
        found.append(optimism(each, LABELS, np.arange(len(LABELS)), seed, draws=200))
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.15)


def test_where_one_trial_is_far_better_the_choice_adds_nothing() -> None:
    each = np.random.default_rng(0).normal(0.5, 0.1, (20, len(LABELS)))
    each[7] += 0.4
    assert optimism(each, LABELS, np.arange(len(LABELS)), seed=1) < 0.01


def test_images_of_a_group_count_as_one() -> None:
    """Ten images that are alike tell no more than one, so that chance adds as much."""
    each = np.random.default_rng(0).normal(0.5, 0.3, (20, len(LABELS)))
    once = optimism(each, LABELS, np.arange(len(LABELS)), seed=1)
    ten = optimism(each.repeat(10, 1), LABELS.repeat(10), np.arange(len(LABELS)).repeat(10), seed=1)
    alone = optimism(each.repeat(10, 1), LABELS.repeat(10), np.arange(len(LABELS) * 10), seed=1)
    assert ten == pytest.approx(once, rel=0.05)
    assert alone < 0.8 * once


def test_one_trial_is_not_chosen() -> None:
    assert optimism(np.ones((1, len(LABELS))), LABELS, np.arange(len(LABELS)), seed=1) == 0.0
