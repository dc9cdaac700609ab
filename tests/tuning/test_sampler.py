"""Trials are a pure function of the seed and of the trials before."""

from __future__ import annotations

import math

import pytest

from lmd.tuning.sampler import STARTUP, Tried, next_values
from lmd.tuning.space import Choice, Range

pytest.importorskip("optuna", reason="the extra 'tune' (optuna) is not installed")

SPACE = {
    "lr": Range(1e-4, 1e-1, log=True),
    "whole": Range(1, 5),
    "kind": Choice(("a", "b")),
    "wide": Range(0.0, 1.0),
}


def searched(number: int, seed: int, begun: list[Tried] | None = None) -> list[Tried]:
    """A search whose best learning rate is .01."""
    tried = list(begun or [])
    while len(tried) < number:
        values = next_values(SPACE, tried, seed)
        tried.append(Tried(values, -abs(math.log10(float(values["lr"])) + 2)))
    return tried


def test_the_same_seed_tries_the_same() -> None:
    assert searched(14, seed=1) == searched(14, seed=1)
    assert searched(3, seed=1) != searched(3, seed=2)


def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been() -> None:
    whole = searched(14, seed=3)
    assert searched(14, seed=3, begun=whole[:5]) == whole
    assert searched(14, seed=3, begun=whole[:12]) == whole


def test_values_lie_in_their_ranges_and_are_of_their_kind() -> None:
    for one in searched(15, seed=4):
        assert 1e-4 <= one.values["lr"] <= 1e-1  # type: ignore[operator]
        assert one.values["whole"] in range(1, 6)
        assert isinstance(one.values["whole"], int)
        assert one.values["kind"] in ("a", "b")


def test_it_learns_from_what_was_tried() -> None:
    tried = searched(40, seed=5)
    early, late = ([one.score for one in part] for part in (tried[:STARTUP], tried[-STARTUP:]))
    assert sum(late) > sum(early) / 2  # type: ignore[arg-type]


def test_a_trial_that_failed_is_another_number_and_no_score() -> None:
    tried = [Tried(next_values(SPACE, [], 1), None)]
    assert next_values(SPACE, tried, 1) != tried[0].values
