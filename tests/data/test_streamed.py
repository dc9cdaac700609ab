"""Results that threads make ahead of their use: in order, never too many, and honest about errors."""

from __future__ import annotations

import threading
import time

import pytest

from lmd.data import parallel
from lmd.data.parallel import streamed


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "num_cores", lambda: 2)


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
