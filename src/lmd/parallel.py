"""Work done in threads: on many files at once, or on what is needed next."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

from lmd import stopping

# What shows how far something is: called with the steps done and all of them.
Steps = Callable[[int, int], None]
_SHOWN_EVERY = 0.1  # Seconds between two calls that show progress.
CORES = "LMD_CORES"  # Says in a child of ours (lmd.jobs) what its share of the cores is.


def quiet(done: int, total: int) -> None:
    """Shows no progress."""


def num_cores() -> int:
    """Returns the cores that this process may use: a scheduler, or a parent of ours, may lend fewer."""
    affinity = getattr(os, "sched_getaffinity", None)
    there = len(affinity(0)) if affinity else os.cpu_count() or 1
    share = os.environ.get(CORES, "")
    return max(1, min(there, int(share))) if share.isdigit() else there


def in_threads(function: Callable[[Any], Any], items: Iterable[Any], progress: Steps = quiet) -> list[Any]:
    """Returns the function of each item, in order; reading, hashing and decoding release the interpreter.

    The first error in order, or an interrupt, ends it: what has not begun is not begun.
    """
    todo = list(items)
    results: dict[int, Any] = {}
    errors: dict[int, BaseException] = {}
    places = iter(range(len(todo)))  # No two threads get the same place of it.
    stop = threading.Event()

    def work() -> None:
        # A future for each item would take a fifth of the time of a small image.
        while not stop.is_set() and (place := next(places, None)) is not None:
            try:
                results[place] = function(todo[place])
            except BaseException as error:  # Raised below, in the caller's thread.
                errors[place] = error
                stop.set()

    with ThreadPoolExecutor(num_cores()) as pool:
        workers = [pool.submit(work) for _ in range(min(num_cores(), len(todo)))]
        try:
            while wait(workers, timeout=_SHOWN_EVERY).not_done:
                stopping.check()
                progress(len(results), len(todo))
        finally:
            stop.set()
    if errors:
        raise errors[min(errors)]
    progress(len(todo), len(todo))
    return [results[place] for place in range(len(todo))]


def streamed(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    window: int,
    initializer: Callable[[], None] | None = None,
) -> Generator[Any, None, None]:
    """Yields the function of each item, in order; threads work on the next `window` items meanwhile.

    No more results than that are ever kept. Each thread calls the `initializer` first. An error reaches the
    caller in the place of its item; after it, or once the caller closes the generator, what has not begun is
    not begun.
    """
    coming: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(num_cores(), initializer=initializer) as pool:
        try:
            for item in items:
                stopping.check()
                coming.append(pool.submit(function, item))
                if len(coming) > window:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


def one_core_each(function: Callable[[Any], Any], items: Iterable[Any]) -> Generator[Any, None, None]:
    """Yields the function of each item, in order; every core computes one item by itself.

    Each has one thread of torch, and so has whoever uses the items: no core waits for another, as the
    threads of one operation do. Two items for each core may wait.
    """
    import torch  # `prepare` and `inspect` need no torch, which takes two seconds to load.

    with one_thread():
        yield from streamed(function, items, 2 * num_cores(), initializer=partial(torch.set_num_threads, 1))


@contextmanager
def one_thread() -> Iterator[None]:
    """Gives torch one thread for a while: for many small operations, in which threads only wait."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
