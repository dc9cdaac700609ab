"""Work in threads: in order, ahead of its use, and honest about errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lmd.data import parallel
from lmd.data.parallel import ahead


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "num_cores", lambda: 2)


def test_items_come_in_order() -> None:
    assert list(ahead(iter(range(1, 50)))) == list(range(1, 50))
    assert list(ahead(iter(()))) == []


def test_the_next_item_is_made_while_the_present_one_is_used() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    source = ahead(items())
    assert next(source) == 1
    assert made.wait(timeout=10)  # Nobody has asked for the second item yet.
    assert list(source) == [2]


def test_one_core_makes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "num_cores", lambda: 1)
    assert list(ahead(iter([threading.current_thread()]))) == [threading.main_thread()]
    made_by = list(ahead(threading.current_thread() for _ in range(2)))
    assert made_by == [threading.main_thread()] * 2


def test_an_error_comes_in_its_place_and_leaves_no_thread() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("second")

    before = threading.active_count()
    source = ahead(items())
    assert next(source) == 1
    with pytest.raises(ValueError, match="second"):
        next(source)
    early = ahead(iter([1, 2, 3]))
    assert next(early) == 1
    early.close()
    assert threading.active_count() == before
