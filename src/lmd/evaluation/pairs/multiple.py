"""What may be said of many pairs of runs at once: Holm's correction, and groups that are not told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values that count how many were looked at (Holm 1979).

    The chance that any of those below 5% is a false one is at most 5%, however they depend on each other.
    The smallest is multiplied by their number m, the next by m - 1, and so on; none is smaller than one
    before it.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    left = np.arange(len(order), 0, -1)
    raised = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * left), 1.0)
    found = np.empty(len(order))
    found[order] = raised
    return found.tolist()


def cliques(apart: np.ndarray) -> list[list[int]]:
    """Returns the groups in which no two are told apart, as large as they can be, in order.

    Args:
        apart: of each pair whether the two are told apart [N, N], both ways.

    >>> cliques(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool))
    [[0, 1], [1, 2]]
    """
    alike = {
        one: {other for other in range(len(apart)) if other != one and not apart[one, other]}
        for one in range(len(apart))
    }
    return sorted(sorted(group) for group in _largest(set(), set(alike), set(), alike))


def _largest(
    group: set[int], left: set[int], done: set[int], alike: dict[int, set[int]]
) -> Iterator[set[int]]:
    """The groups that hold this one and cannot grow (Bron and Kerbosch 1973, with a pivot)."""
    if not left and not done:
        yield group
        return
    pivot = max(left | done, key=lambda one: len(alike[one] & left))
    for one in sorted(left - alike[pivot]):
        yield from _largest(group | {one}, left & alike[one], done & alike[one], alike)
        left, done = left - {one}, done | {one}


def letters(groups: Sequence[Sequence[int]], number: int) -> list[str]:
    """Returns of each row the letters of its groups: two rows that share a letter are not told apart.

    >>> letters([[0, 1], [1, 2]], 3)
    ['a', 'ab', 'b']
    """
    named = [(_letter(place), group) for place, group in enumerate(groups)]
    return ["".join(name for name, group in named if row in group) for row in range(number)]


def _letter(place: int) -> str:
    """The letters a to z, then a1, b1 and so on.

    >>> _letter(0), _letter(27)
    ('a', 'b1')
    """
    again, place = divmod(place, 26)
    return chr(ord("a") + place) + (str(again) if again else "")
