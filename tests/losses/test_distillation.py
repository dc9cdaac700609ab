"""Distillation against loops, and the size of its gradient."""

from __future__ import annotations

import math

import pytest
import torch

from lmd.losses.distillation import feature_distillation, logit_distillation

_GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(4, 3, dtype=torch.float64, generator=_GENERATOR)
TEACHER = torch.randn(4, 3, dtype=torch.float64, generator=_GENERATOR)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_logits_against_a_loop(temperature: float) -> None:
    total = 0.0
    for s, t in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        q = [math.exp(v / temperature) / sum(math.exp(w / temperature) for w in s) for v in s]
        p = [math.exp(v / temperature) / sum(math.exp(w / temperature) for w in t) for v in t]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = temperature**2 * total / 4
    assert float(logit_distillation(STUDENT, TEACHER, temperature)) == pytest.approx(expected, rel=1e-12)


def test_features_against_a_loop() -> None:
    pairs = zip(STUDENT.flatten().tolist(), TEACHER.flatten().tolist(), strict=True)
    expected = sum((a - b) ** 2 for a, b in pairs) / 12
    assert float(feature_distillation(STUDENT, TEACHER)) == pytest.approx(expected, rel=1e-12)


def test_gradients() -> None:
    student = STUDENT.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: logit_distillation(s, TEACHER), student)
    torch.autograd.gradcheck(lambda s: feature_distillation(s, TEACHER), student)
