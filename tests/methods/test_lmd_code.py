"""LMD as the authors' code behaves: what it does differently in stage 1."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lmd.losses.relation import channel_relation
from lmd.methods import lmd_code
from lmd.models.network import Output
from lmd.settings import resolve


def stage(**changes: float) -> lmd_code.CodeRelationLearning:
    settings = resolve(lmd_code.Settings, lmd_code.PRESET, {"stage1": changes})
    first = lmd_code.stages(settings, np.array([5, 3]))[0]
    assert isinstance(first, lmd_code.CodeRelationLearning)
    return first


def output(rows: int, seed: int) -> Output:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(rows, n, generator=generator).requires_grad_() for n in (5, 3)]
    return Output(*draw)


def test_the_consistency_starts_with_the_22nd_epoch() -> None:
    assert [stage().ramp(epoch) for epoch in (0.0, 20.99, 21.0, 99.5)] == [0.0, 0.0, 1.0, 1.0]
    assert stage(consistency_start=2.0, ramp_epochs=4).ramp(3.0) == 0.25


def test_the_channel_term_is_divided_by_the_batch() -> None:
    student, teacher = output(7, 0), output(7, 1)
    found = stage().consistency(student, teacher)["channel_consistency"]
    difference = channel_relation(student.features) - channel_relation(teacher.features)
    assert float(found.detach()) == pytest.approx(float(difference.detach().square().sum()) / 7, rel=1e-6)


def test_a_process_of_two_keeps_half_of_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of both processes stand for those that `gather` would bring."""
    whole, first = output(8, 2), stage()
    monkeypatch.setattr(lmd_code.RelationLearning, "of_all", lambda self, part: whole)
    found = first.of_all(SimpleNamespace(features=whole.features[:4]))  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True))
    found.features.square().sum().backward()
    assert whole.features.grad is not None
    torch.testing.assert_close(whole.features.grad, whole.features.detach())  # 2 z, halved.


def test_one_process_keeps_all_of_it() -> None:
    mine = output(4, 3)
    assert stage().of_all(mine).features.data_ptr() == mine.features.data_ptr()
