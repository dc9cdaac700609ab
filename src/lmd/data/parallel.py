"""Work done in threads: on many files at once, or on what is needed next."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
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


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yields the items in order; a thread makes the next one while the present one is used.

    One thread makes them all, one after the other, so that what they draw from a generator is what they
    would draw without it. An error reaches the caller in the place of the item that raised it. No item is
    None. On a single core there is nothing to gain: no thread is made.
    """
    if num_cores() == 1:
        yield from items
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def streamed(function: Callable[[Any], Any], items: Iterable[Any], window: int) -> Generator[Any, None, None]:
    """Yields the function of each item, in order; threads work on the next `window` items meanwhile.

    No more results than that are ever kept. An error reaches the caller in the place of its item; after it,
    or once the caller closes the generator, what has not begun is not begun.
    """
    coming: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(num_cores()) as pool:
        try:
            for item in items:
                coming.append(pool.submit(function, item))
                if len(coming) > window:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()
