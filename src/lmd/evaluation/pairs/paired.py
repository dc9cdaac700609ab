"""Several methods measured on the same cases: which of them can be told apart, in one metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np

from lmd.evaluation.intervals.differences import p_of, paired_difference
from lmd.evaluation.intervals.score import LEVEL
from lmd.evaluation.intervals.uncertainty import Measured, mean_of
from lmd.evaluation.pairs.multiple import cliques, holm, letters
from lmd.evaluation.parts import Estimate
from lmd.settings import Settings

# The trainings of one method, by seed and (of repeated folds) repeat: what each is worth in one metric.
Trained = Mapping[tuple[int, str], Measured]
UNDEFINED = "the metric is undefined for one of the two"
# Metrics whose test holds its level wherever the metric has an interval (benchmarks/type_one.py): with a few
# images of a class it errs less often than it may. The others are judged where a difference has an interval.
WIDE = ("bacc",)


class Pair(Settings):
    """Two methods, and what the test images say of the difference between them."""

    first: str
    second: str
    difference: Estimate
    """first - second, over the trainings that both have, with its 95% interval"""
    p: float | None
    """p-value of this pair alone; None where the images do not allow one"""
    p_holm: float | None
    """p-value that counts how many pairs were looked at (Holm 1979)"""
    trainings: int
    """trainings of each behind the difference"""
    about: Literal["methods", "trained models"]
    """methods: two trainings of each at the least; otherwise these trained models alone"""
    better: str | None
    """the one that is better, where the two can be told apart"""
    reason: str | None = None
    """why there is no p-value"""


class Ranked(Settings):
    """One method among others."""

    name: str
    value: Estimate
    """mean over its trainings"""
    trainings: int
    groups: str
    """letters: methods that share one cannot be told apart"""


class Ranking(Settings):
    """Methods from the best to the worst, every pair of them, and the groups that are not told apart."""

    rows: list[Ranked]
    pairs: list[Pair]
    groups: list[list[str]]
    """of two methods or more; one method may be in several"""


def rank(methods: Mapping[str, Trained], metric: str) -> Ranking:
    """Compares every pair of methods in a metric; their trainings were measured on the same cases.

    Pairs are told apart at 5% after Holm's correction. Trainings are paired by seed.
    """
    means = {name: mean_of(list(trained.values())) for name, trained in methods.items()}
    order = sorted(means, key=lambda name: (-np.nan_to_num(means[name].value, nan=-np.inf), name))
    pairs = _corrected(
        [
            _pair(*names, *(methods[name] for name in names), wide=metric in WIDE)
            for names in combinations(order, 2)
        ]
    )
    groups = cliques(_apart(order, pairs))
    marks = letters(groups, len(order))
    return Ranking(
        rows=[
            Ranked(name=name, value=means[name].estimate(), trainings=len(methods[name]), groups=mark)
            for name, mark in zip(order, marks, strict=True)
        ],
        pairs=pairs,
        groups=[[order[place] for place in group] for group in groups if len(group) > 1],
    )


def _pair(first: str, second: str, mine: Trained, other: Trained, wide: bool) -> Pair:
    shared = sorted(mine.keys() & other.keys())
    one, two = (_mean(trained, shared) for trained in (mine, other))
    difference = paired_difference(one, two, wide)
    few = (one.reason or two.reason) if wide else (one.apart or two.apart)
    reason = few if difference.value is not None else UNDEFINED
    return Pair(
        first=first,
        second=second,
        difference=difference,
        p=None if reason else p_of(one, two),
        p_holm=None,
        trainings=max(len(shared), 1),
        about="methods" if len(shared) > 1 else "trained models",
        better=None,
        reason=reason,
    )


def _mean(trained: Trained, shared: Sequence[tuple[int, str]]) -> Measured:
    """The mean over the shared trainings; without any, over all, whose spread is then left out."""
    if shared:
        return mean_of([trained[key] for key in shared])
    return replace(mean_of(list(trained.values())), trained=())


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with their corrected p-values, and with the better one where two are told apart."""
    raised = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    return [pair if pair.p is None else _judged(pair, next(raised)) for pair in pairs]


def _judged(pair: Pair, raised: float) -> Pair:
    ahead = pair.first if (pair.difference.value or 0.0) > 0 else pair.second
    return pair.model_copy(update={"p_holm": raised, "better": ahead if raised < 1 - LEVEL else None})


def _apart(order: Sequence[str], pairs: Sequence[Pair]) -> np.ndarray:
    place = {name: number for number, name in enumerate(order)}
    apart = np.zeros((len(order), len(order)), dtype=bool)
    for pair in pairs:
        one, two = place[pair.first], place[pair.second]
        apart[one, two] = apart[two, one] = pair.better is not None
    return apart
