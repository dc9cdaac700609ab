"""Work on many files at once, and how far it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Progress = Callable[[int, int], None]


def quiet(done: int, total: int) -> None:
    """Shows no progress."""


def num_cores() -> int:
    """Returns the cores that this process may use: a scheduler may lend fewer than there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def in_threads(function: Callable[[Any], Any], items: Iterable[Any], progress: Progress = quiet) -> list[Any]:
    """Returns the function of each item, in order; reading, hashing and decoding release the interpreter.

    The first error, or an interrupt, ends it: what has not begun is not begun.
    """
    todo = list(items)
    results: list[Any] = []
    with ThreadPoolExecutor(num_cores()) as pool:
        for result in pool.map(function, todo):
            results.append(result)
            if len(results) % 64 == 0 or len(results) == len(todo):
                progress(len(results), len(todo))
    return results
