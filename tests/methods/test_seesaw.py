"""Seesaw: the counts it has seen, and that they survive a resume."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lmd.losses.seesaw import seesaw_loss
from lmd.methods import seesaw
from tests.methods.tiny import COUNTS, resumed_equals_whole, stage_of

LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 0])


def test_it_counts_the_batch_before_it_judges_it() -> None:
    stage = stage_of(seesaw)
    for times in (1, 2):
        loss = stage.criterion(LOGITS, LABELS, 0.0)["seesaw"]
        assert stage.counts.tolist() == [3 * times, times, 0]
        assert torch.equal(loss, seesaw_loss(LOGITS, LABELS, torch.tensor([3 * times, times, 0])))


def test_after_an_epoch_it_has_seen_what_it_was_shown() -> None:
    stage = stage_of(seesaw)
    stage.run_epoch(0)
    shown = stage.context.train.labels[torch.from_numpy(stage.order(0))][: sum(COUNTS) // 8 * 8]
    assert stage.counts.tolist() == torch.bincount(shown, minlength=3).tolist()


def test_the_prior_takes_the_place_of_counting() -> None:
    stage = stage_of(seesaw, stage1={"counts": "prior"})
    stage.criterion(LOGITS, LABELS, 0.0)
    assert stage.counts.tolist() == list(COUNTS)


def test_p_and_q_of_0_are_cross_entropy() -> None:
    stage = stage_of(seesaw, stage1={"p": 0.0, "q": 0.0})
    assert torch.equal(stage.criterion(LOGITS, LABELS, 0.0)["seesaw"], F.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize("changes", [{}, {"classifier": "cosine"}])
def test_it_resumes_with_its_counts(changes: dict[str, Any], tmp_path: Path) -> None:
    resumed_equals_whole(lambda: stage_of(seesaw, stage1=changes), tmp_path)


def test_the_normalised_classifier_has_its_scale() -> None:
    assert float(stage_of(seesaw, stage1={"classifier": "cosine"}).network.classifier.scale) == 20


@pytest.mark.parametrize(
    ("changes", "warns"),
    [
        ({}, False),
        ({"sampling": "balanced"}, True),
        ({"sampling": "balanced", "counts": "prior"}, False),
    ],
)
def test_it_warns_where_its_counts_tell_nothing(
    changes: dict[str, Any], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        stage_of(seesaw, stage1=changes)
    assert ("set stage1.counts: prior" in caplog.text) == warns
