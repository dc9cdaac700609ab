"""LDAM-RS: a normalised classifier in fp32, and when the classes are balanced."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmd.data.feed.sampling import effective_weights
from lmd.losses.margin import ldam_loss, ldam_margins
from lmd.methods import ldam_rs
from tests.methods.tiny import COUNTS, stage_of

LABELS = torch.tensor([0, 1, 2, 0])


def share_of_the_largest(stage: ldam_rs.LdamTraining, epoch: int) -> float:
    return float((stage.context.train.labels[torch.from_numpy(stage.order(epoch))] == 0).double().mean())


@pytest.mark.parametrize(
    ("rebalance", "balanced"),
    [("rs", [True, True, True]), ("drs", [False, False, True]), ("drw", [False] * 3)],
)
def test_when_the_order_is_balanced(rebalance: str, balanced: list[bool]) -> None:
    stage = stage_of(ldam_rs, stage1={"epochs": 10, "rebalance": rebalance})
    for epoch, expected in zip((0, 7, 8), balanced, strict=True):
        order = stage.order(epoch)
        assert (sorted(order.tolist()) == list(range(sum(COUNTS)))) != expected
        assert (share_of_the_largest(stage, epoch) < 0.6) == expected


def test_effective_numbers_are_the_other_sampling() -> None:
    stage = stage_of(ldam_rs, stage1={"sampling": "effective_number"})
    assert stage.sampling == "effective_number"
    assert not np.array_equal(stage.order(0), stage_of(ldam_rs).order(0))


@pytest.mark.parametrize(("rebalance", "weighted"), [("rs", False), ("drs", False), ("drw", True)])
def test_when_the_loss_is_weighted(rebalance: str, weighted: bool) -> None:
    stage = stage_of(ldam_rs, stage1={"epochs": 10, "rebalance": rebalance})
    cosines = torch.rand(4, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    margins = ldam_margins(torch.tensor(COUNTS))
    plain = ldam_loss(cosines, LABELS, margins)
    heavy = ldam_loss(cosines, LABELS, margins, weights=torch.from_numpy(effective_weights(np.array(COUNTS))))
    assert not torch.isclose(plain, heavy)
    for epoch, late in ((0.0, False), (7.99, False), (8.0, True)):
        loss = stage.criterion(30 * cosines, LABELS, epoch)["ldam"]
        torch.testing.assert_close(loss, heavy if weighted and late else plain)


def test_the_cosines_stay_in_single_precision_under_autocast() -> None:
    head = stage_of(ldam_rs).network.classifier
    assert float(head.scale) == 30
    features = torch.randn(5, head.weight.shape[1], generator=torch.Generator().manual_seed(0))
    exact = head.cosines(features)
    assert exact.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.cosines(features), exact)
