"""The one order in which classes are shown: that of their training images, most first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from lmd.evaluation.results import Evaluation

Item = TypeVar("Item")


def class_order(counts: Sequence[int]) -> list[int]:
    """Returns the places of classes by their training images, most first; equal ones in the model's order.

    >>> class_order([5, 40, 12, 12])
    [1, 2, 3, 0]
    """
    return sorted(range(len(counts)), key=lambda k: -counts[k])


def in_order(items: Sequence[Item], counts: Sequence[int]) -> list[Item]:
    """Returns what there is one of for each class, in the model's order, as it is shown.

    >>> in_order(["a", "b", "c"], [5, 40, 12])
    ['b', 'c', 'a']
    """
    return [items[k] for k in class_order(counts)]


def bands_in_order(names: Iterable[str], bands: Iterable[str]) -> list[str]:
    """Returns names in the order of the bands, head first; what is no band follows.

    >>> bands_in_order(["tail", "all", "head"], ["head", "medium", "tail"])
    ['head', 'tail', 'all']
    """
    places = {band: place for place, band in enumerate(bands)}
    return sorted(names, key=lambda name: places.get(name, len(places)))


def counts_of(evaluation: Evaluation, counts: Sequence[int] | None = None) -> list[int]:
    """Returns what classes are ordered by: the training images; where these are unknown, the test images."""
    return [entry.n for entry in evaluation.classes] if counts is None else list(counts)
