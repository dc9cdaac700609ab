"""The time left is that of the whole run, and follows what the run itself takes."""

from __future__ import annotations

from lmd.planning.clock import Clock
from lmd.planning.outline import Leg
from lmd.planning.rehearsal import Pace

FIRST, SECOND = Leg("stage1", 10, 200), Leg("stage2", 2, 0, 40)


class Watch:
    """Seconds that a test counts."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def running(*paces: Pace) -> tuple[Clock, Watch]:
    watch = Watch()
    return Clock([FIRST, SECOND], paces or None, watch), watch


def test_before_the_start_it_is_what_was_rehearsed_of_all_stages() -> None:
    clock, _ = running(Pace(5.0), Pace(7.0, before=3.0))
    assert clock.left() == 10 * 5 + 3 + 2 * 7


def test_the_first_ten_steps_correct_it_once() -> None:
    clock, watch = running(Pace(5.0, validation=1.0), Pace(7.0))
    clock.started("stage1", 0)
    watch.seconds = 4.5
    assert not clock.stepped(9, 20)
    watch.seconds = 5.0
    assert clock.stepped(10, 20)  # An epoch is 20 steps of .5 s, and its validation: 11 s, 2.2 times as long.
    assert clock.left() == 10 * 11 + 2 * 7 * 11 / 5 - 5
    assert not clock.stepped(11, 20)


def test_every_epoch_corrects_it_and_it_falls_with_the_time() -> None:
    clock, watch = running(Pace(5.0), Pace(7.0))
    lefts: list[float] = []
    for stage, epochs, span in (("stage1", 10, 10.0), ("stage2", 2, 14.0)):
        for epoch in range(epochs):
            clock.started(stage, epoch)
            watch.seconds += span
            clock.finished()
            left = clock.left()
            assert left is not None
            lefts.append(left)
    assert lefts[0] == 9 * 10 + 2 * 14  # Twice as long as rehearsed, and so will the second stage be.
    assert lefts == sorted(lefts, reverse=True)
    assert lefts[-3:] == [28, 14, 0]


def test_within_an_epoch_it_falls_and_never_below_the_rest() -> None:
    clock, watch = running(Pace(5.0), Pace(7.0))
    clock.started("stage1", 0)
    watch.seconds = 2.0
    assert clock.left() == 50 + 14 - 2
    watch.seconds = 100.0
    assert clock.left() == 50 + 14 - 5


def test_a_run_that_goes_on_has_only_its_rest_before_it() -> None:
    clock, _ = running(Pace(5.0), Pace(7.0, before=3.0))
    clock.started("stage2", 1)
    assert clock.left() == 7


def test_without_a_rehearsal_it_says_nothing_before_all_stages_are_known() -> None:
    clock, watch = running()
    clock.started("stage1", 0)
    watch.seconds = 5.0
    clock.finished()
    assert clock.left() is None
    clock.started("stage2", 0)
    watch.seconds = 8.0
    clock.finished()
    assert clock.left() == 3


def test_steps_of_two_kinds_say_nothing_of_an_epoch() -> None:
    clock = Clock([Leg("stage2", 3, 20, 600)], [Pace(4.0)], Watch())
    clock.started("stage2", 0)
    assert not clock.stepped(10, 200)
