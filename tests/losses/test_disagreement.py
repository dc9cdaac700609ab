"""BALD against a loop: agreement is 0, however unsure."""

from __future__ import annotations

import math

import pytest
import torch

from lmd.losses.disagreement import disagreement


def entropy(p: list[float]) -> float:
    return -sum(value * math.log(value) for value in p if value > 0)


def test_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    passes = torch.randn(4, 6, 3, dtype=torch.float64, generator=generator).softmax(2)
    found = disagreement(passes)
    for image in range(6):
        posteriors = passes[:, image].tolist()
        mean = [sum(column) / 4 for column in zip(*posteriors, strict=True)]
        expected = entropy(mean) - sum(map(entropy, posteriors)) / 4
        assert float(found[image]) == pytest.approx(expected, rel=1e-10)
    assert bool((found > 0).all())


def test_unsure_but_agreed_ranks_below_sure_but_disputed() -> None:
    agreed = torch.tensor([0.5, 0.5]).expand(2, 2)
    disputed = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    scores = disagreement(torch.stack([agreed, disputed], 1))
    assert scores.tolist() == pytest.approx([0.0, math.log(2)])
