"""Results that threads make ahead of their use: in order, never too many, and honest about errors."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from lmd import parallel
from lmd.parallel import in_threads, one_core_each, streamed


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "num_cores", lambda: 2)


def test_the_results_of_all_are_in_the_order_of_the_items() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return -number

    assert in_threads(slow_first, range(200)) == [-number for number in range(200)]
    assert in_threads(abs, []) == []


def test_every_core_works_on_an_item() -> None:
    both = threading.Barrier(2, timeout=10)
    in_threads(lambda _: both.wait(), range(4))


def test_threads_stop_at_an_interrupt() -> None:
    begun: list[int] = []

    def fails(number: int) -> None:
        begun.append(number)
        time.sleep(0.002)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(fails, range(1000))
    assert len(begun) < 100
    assert threading.active_count() < 100


def test_the_first_error_in_order_is_the_one_that_is_raised() -> None:
    """Not the first in time: which file is named must not depend on how quick it was to read."""
    begun: list[int] = []
    second = threading.Event()

    def fails(number: int) -> None:
        begun.append(number)
        if number == 0:
            assert second.wait(timeout=10)
            time.sleep(0.02)
        second.set()
        raise ValueError(f"number {number}")

    with pytest.raises(ValueError, match="number 0"):
        in_threads(fails, range(1000))
    assert sorted(begun) == [0, 1]


def test_progress_is_shown_meanwhile_and_ends_with_every_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_SHOWN_EVERY", 0.001)
    seen: list[tuple[int, int]] = []
    in_threads(lambda _: time.sleep(0.002), range(20), lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert seen[-1] == (20, 20)


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return -number

    for window in (0, 3, 100):
        assert list(streamed(slow_first, range(20), window)) == [-number for number in range(20)]
    assert list(streamed(abs, [], 3)) == []


def test_what_comes_next_is_made_meanwhile_but_no_more_than_the_window() -> None:
    begun: list[int] = []
    third = threading.Event()

    def note(number: int) -> int:
        begun.append(number)
        if number == 3:
            third.set()
        return number

    source = streamed(note, range(100), 3)
    assert next(source) == 0
    assert third.wait(timeout=10)
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2, 3]
    assert next(source) == 1
    source.close()


def test_each_thread_is_prepared_first() -> None:
    place = threading.local()

    def prepare() -> None:
        place.ready = True

    assert list(streamed(lambda _: place.ready, range(5), 2, prepare)) == [True] * 5


def test_an_error_comes_in_its_place_and_ends_it() -> None:
    begun: list[int] = []

    def fail(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        if number in (2, 3):
            raise ValueError(f"number {number}")
        return number

    before = threading.active_count()
    source = streamed(fail, range(1000), 500)
    assert [next(source), next(source)] == [0, 1]
    with pytest.raises(ValueError, match="number 2"):
        next(source)
    assert len(begun) < 100
    assert threading.active_count() == before


def test_closed_it_begins_nothing_more() -> None:
    begun: list[int] = []

    def note(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)

    before = threading.active_count()
    source = streamed(note, range(1000), 500)
    next(source)
    source.close()
    assert len(begun) < 100
    assert threading.active_count() == before


def test_every_core_computes_by_itself_and_torch_is_as_before() -> None:
    """Neither this thread nor threads made later keep the workers' one thread, also after an error."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert list(one_core_each(lambda _: torch.get_num_threads(), range(5))) == [1] * 5
        with pytest.raises(ZeroDivisionError):
            list(one_core_each(lambda number: 1 / number, [1, 0]))
        stopped = one_core_each(abs, range(9))
        assert next(stopped) == 0
        stopped.close()
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (torch.get_num_threads(), later) == (3, [3])
    finally:
        torch.set_num_threads(before)
