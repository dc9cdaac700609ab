"""LORT and RS: what they go on with, what they sample, what they minimise."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from lmd.methods import ce, lort, rs
from tests.methods.tiny import COUNTS, falls, network, stage_of, weights

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])


def test_lort_goes_on_with_the_classifier_on_over_smoothed_labels() -> None:
    stage = stage_of(lort, 1)
    assert torch.equal(weights(stage.network), weights(network()))
    loss = stage.criterion(LOGITS, LABELS, 0.0)["smoothed_cross_entropy"]
    torch.testing.assert_close(loss, F.cross_entropy(LOGITS, LABELS, label_smoothing=0.98))
    assert sorted(stage.order(0).tolist()) == list(range(sum(COUNTS)))
    encoder = weights(stage.network.encoder)
    stage.run_epoch(0)
    assert not torch.equal(weights(stage.network), weights(network()))
    assert torch.equal(weights(stage.network.encoder), encoder)


def test_lort_shrinks_the_logits() -> None:
    stage = stage_of(lort, 1, stage2={"optimisation": {"lr": 0.05}})
    with torch.no_grad():
        stage.network.classifier.weight.mul_(20)
    stage.set_mode()

    def spread() -> float:
        return float(stage.network.classifier(stage.features).detach().std(1).mean())

    before = spread()
    assert falls(stage, epochs=stage.epochs)
    assert spread() < 0.5 * before


def test_lort_needs_no_counts() -> None:
    """Other counts, same images: the same training."""
    stage = stage_of(lort, 1)
    other = lort.stages(stage.common, np.array([1, 1, 1]))[1]
    other.prepare(stage_of(lort, 1).context)
    assert stage.run_epoch(0) == other.run_epoch(0)


def test_rs_is_cross_entropy_on_balanced_batches() -> None:
    stage = stage_of(rs)
    rows = np.concatenate([stage.order(epoch) for epoch in range(40)])
    shares = torch.bincount(stage.context.train.labels[torch.from_numpy(rows)], minlength=3) / len(rows)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.05, rtol=0)
    plain, same = stage_of(ce), stage_of(rs, stage1={"sampling": "instance"})
    assert plain.run_epoch(0) == same.run_epoch(0)
    assert torch.equal(weights(plain.network), weights(same.network))
