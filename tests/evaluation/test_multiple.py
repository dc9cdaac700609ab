"""Holm's correction, and the groups that are not told apart."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from lmd.evaluation.pairs.multiple import cliques, holm, letters


def closed(p_values: list[float]) -> list[float]:
    """The closed test with Bonferroni's: a pair counts where every set of pairs that holds it does."""
    number = len(p_values)
    sets = list(chain.from_iterable(combinations(range(number), size) for size in range(1, number + 1)))
    worst = [
        max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets if k in s) for k in range(number)
    ]
    return worst


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_the_closed_test_of_bonferroni(seed: int) -> None:
    p_values = (np.random.default_rng(seed).random(6) ** 3).round(3).tolist()
    assert holm(p_values) == pytest.approx(closed(p_values))


def test_holm_by_hand() -> None:
    """4 x .0001; 3 x .0201; 2 x .0344; .9."""
    assert holm([0.0001, 0.0201, 0.0344, 0.9]) == pytest.approx([0.0004, 0.0603, 0.0688, 0.9])


def test_holm_of_nothing() -> None:
    assert holm([]) == []


def every_clique(apart: np.ndarray) -> list[list[int]]:
    number = len(apart)
    sets = chain.from_iterable(combinations(range(number), size) for size in range(1, number + 1))
    free = [set(s) for s in sets if not any(apart[i, j] for i, j in combinations(s, 2))]
    return sorted(sorted(s) for s in free if not any(s < other for other in free))


@pytest.mark.parametrize("seed", range(20))
def test_cliques_are_the_largest_sets_without_a_difference(seed: int) -> None:
    drawn = np.random.default_rng(seed).random((7, 7)) < 0.4
    apart = np.triu(drawn, 1) | np.triu(drawn, 1).T
    assert cliques(apart) == every_clique(apart)


def test_two_rows_share_a_letter_where_they_are_not_told_apart() -> None:
    drawn = np.random.default_rng(3).random((8, 8)) < 0.5
    apart = np.triu(drawn, 1) | np.triu(drawn, 1).T
    marks = letters(cliques(apart), 8)
    for i, j in combinations(range(8), 2):
        assert bool(set(marks[i]) & set(marks[j])) == (not apart[i, j])
