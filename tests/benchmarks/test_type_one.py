"""The simulation of the type I error: what it draws, and its two tests."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import DESIGNS
from benchmarks.type_one import Simulated, by_bootstrap, by_influence, cell, simulate, table


def test_recalls_are_those_asked_for() -> None:
    groups = np.array([4000, 4000, 4000])
    wanted = [np.array([0.9, 0.7, 0.5]), np.array([0.5, 0.7, 0.9])]
    drawn = simulate(np.random.default_rng(0), groups, wanted, seeds=1, grouped=True)
    for recalls, row in zip(wanted, drawn.predicted, strict=True):
        hits = row[0] == drawn.labels
        assert [hits[drawn.labels == k].mean() for k in range(3)] == pytest.approx(recalls.tolist(), abs=0.02)
    assert all(found.min() >= 0 and found.max() <= 2 for row in drawn.predicted for found in row)


def test_the_bootstrap_is_that_of_single_images() -> None:
    """Groups of one kind are drawn together; a plain loop over draws of images gives the same p-value."""
    labels = np.repeat([0, 1], [12, 8])
    random = np.random.default_rng(0)
    predicted = [[np.where(random.random(20) < 0.6, labels, 1 - labels)] for _ in range(2)]
    drawn = Simulated(labels, np.arange(20), predicted)
    gap = (predicted[0][0] == labels).astype(float) - (predicted[1][0] == labels)
    values = []
    for _ in range(4000):
        parts = [random.choice(gap[labels == k], (labels == k).sum()).mean() for k in (0, 1)]
        values.append(np.mean(parts))
    slow = 2 * min(np.mean(np.array(values) <= 1e-12), np.mean(np.array(values) >= -1e-12))
    assert by_bootstrap(random, drawn, draws=4000) == pytest.approx(min(slow, 1.0), abs=0.06)


def test_the_tests_find_a_large_difference() -> None:
    groups, recalls = np.array([60, 60]), [np.array([0.9, 0.9]), np.array([0.5, 0.5])]
    drawn = simulate(np.random.default_rng(0), groups, recalls, seeds=3, grouped=False)
    assert by_influence(drawn, 2)["bacc"] < 0.01
    assert by_bootstrap(np.random.default_rng(0), drawn) < 0.01


def test_the_level_holds_in_one_situation() -> None:
    found = cell(DESIGNS[0], False, 1, False, 20, 200)
    assert found.found["bacc"] <= 5 + 2 * 100 * (0.05 * 0.95 / 200) ** 0.5
    assert "1 training each" in table([found])[2]
