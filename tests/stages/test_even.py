"""With even batches every epoch of every kind of stage has every image, and with dropped ones it has not."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from tests.methods.tiny import COUNTS, stage_of

NUMBER = sum(COUNTS)  # 28 images: three full batches of 8, or four of 7.


def seen(name: str, number: int, last: str) -> list[list[int]]:
    """The images of each step of an epoch."""
    stage = stage_of(importlib.import_module(f"lmd.methods.{name}"), number, last_batch=last)
    stage.network.eval()
    if hasattr(stage, "features"):
        stage.set_mode()
    return [batch.index.tolist() for batch in stage.batches(stage.order(0))]


@pytest.mark.parametrize(("name", "number"), [("ce", 0), ("lmd", 0), ("weight_balancing", 1)])
def test_an_epoch_has_every_image_once(name: str, number: int) -> None:
    even, dropped = seen(name, number, "even"), seen(name, number, "drop")
    assert [len(batch) for batch in even] == [7, 7, 7, 7]
    assert sorted(sum(even, [])) == list(range(NUMBER))  # noqa: RUF017
    assert [len(batch) for batch in dropped] == [8, 8, 8]


def test_the_first_stream_of_balanced_mixup_has_every_image_once() -> None:
    batches = seen("bal_mixup", 0, "even")
    assert [len(batch) for batch in batches] == [14] * 4
    assert sorted(row for batch in batches for row in batch[:7]) == list(range(NUMBER))
    assert [len(batch) for batch in seen("bal_mixup", 0, "drop")] == [16] * 3


def test_the_balanced_batches_of_cicl_are_as_many_as_cover_the_images() -> None:
    assert [len(batch) for batch in seen("cicl", 0, "even")] == [8] * 4
    assert [len(batch) for batch in seen("cicl", 0, "drop")] == [8] * 3


@pytest.mark.parametrize(("last", "steps"), [("even", 4), ("drop", 3)])
@pytest.mark.parametrize(("name", "number"), [("ce", 0), ("lmd", 1)])
def test_progress_counts_the_steps_that_are_taken(name: str, number: int, last: str, steps: int) -> None:
    calls: list[tuple[int, int]] = []
    changes: dict[str, Any] = {"m_step": {"solver": "exact"}, "iterations": 1} if name == "lmd" else {}
    stage = stage_of(importlib.import_module(f"lmd.methods.{name}"), number, last_batch=last, **changes)
    object.__setattr__(stage.context, "on_step", lambda done, total: calls.append((done, total)))
    torch.manual_seed(0)
    stage.run_epoch(0)
    ours = calls[1:] if name == "lmd" else calls  # The M-step is one step, and comes first.
    assert ours == [(done, steps) for done in range(1, steps + 1)]
