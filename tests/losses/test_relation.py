"""Equations 3-5 against loops written from the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.losses.relation import (
    channel_consistency,
    channel_relation,
    probability_consistency,
    sample_consistency,
    sample_relation,
)


def features(seed: int, batch: int = 6, channels: int = 4) -> torch.Tensor:
    return torch.randn(batch, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def slow_gram(rows: list[list[float]], normalise: str) -> list[list[float]]:
    """The Gram matrix of a list of vectors, by three loops."""
    gram = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]
    whole = math.sqrt(sum(value**2 for row in gram for value in row))
    for row in gram:
        norm = {"none": 1.0, "row_l2": math.sqrt(sum(v**2 for v in row)), "frobenius": whole}[normalise]
        row[:] = [value / norm for value in row]
    return gram


def slow_consistency(student: list[list[float]], teacher: list[list[float]], normalise: str) -> float:
    """|| S(student) - S(teacher) ||_F^2 / number of vectors."""
    a, b = slow_gram(student, normalise), slow_gram(teacher, normalise)
    n = len(a)
    return sum((a[i][j] - b[i][j]) ** 2 for i in range(n) for j in range(n)) / n


@pytest.mark.parametrize("direction", ["teacher_student", "student_teacher", "symmetric"])
def test_equation_3(direction: str) -> None:
    student, teacher = features(0), features(1)

    def divergence(first: torch.Tensor, second: torch.Tensor) -> float:
        return sum(
            scipy.stats.entropy(softmax(p), softmax(q))
            for p, q in zip(first.tolist(), second.tolist(), strict=True)
        ) / len(first)

    expected = {
        "teacher_student": divergence(teacher, student),
        "student_teacher": divergence(student, teacher),
        "symmetric": (divergence(teacher, student) + divergence(student, teacher)) / 2,
    }[direction]
    found = probability_consistency(student, teacher, direction)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("normalise", ["none", "row_l2", "frobenius"])
def test_equation_4(normalise: str) -> None:
    student, teacher = features(2), features(3)
    expected = slow_consistency(student.tolist(), teacher.tolist(), normalise)
    assert float(sample_consistency(student, teacher, normalise)) == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalise", ["none", "row_l2", "frobenius"])
def test_equation_5(normalise: str) -> None:
    student, teacher = features(4), features(5)
    expected = slow_consistency(student.T.tolist(), teacher.T.tolist(), normalise)
    assert float(channel_consistency(student, teacher, normalise)) == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10**6))
def test_relations_are_symmetric_and_see_the_right_axis(batch: int, channels: int, seed: int) -> None:
    z = features(seed, batch, channels)
    assert sample_relation(z, "none").shape == (batch, batch)
    assert channel_relation(z, "none").shape == (channels, channels)
    torch.testing.assert_close(sample_relation(z, "none"), sample_relation(z, "none").T)
    # A rotation of the channels does not change how samples relate.
    rotation = torch.linalg.qr(features(seed + 1, channels, channels)).Q
    torch.testing.assert_close(sample_relation(z @ rotation, "row_l2"), sample_relation(z, "row_l2"))


@pytest.mark.parametrize("loss", [sample_consistency, channel_consistency])
def test_row_normalisation_takes_the_scale_out(loss: object) -> None:
    z = features(6)
    assert float(loss(z, 3 * z)) == pytest.approx(0, abs=1e-12)  # type: ignore[operator]
    assert float(loss(z, 3 * z, "none")) > 1  # type: ignore[operator]


def test_equal_student_and_teacher_agree_fully() -> None:
    z = features(7)
    assert float(probability_consistency(z, z)) == 0
    assert float(sample_consistency(z, z)) == 0
    assert float(channel_consistency(z, z)) == 0


@pytest.mark.parametrize("direction", ["teacher_student", "student_teacher", "symmetric"])
def test_gradient_of_equation_3(direction: str) -> None:
    student, teacher = features(8).requires_grad_(), features(9)
    torch.autograd.gradcheck(lambda s: probability_consistency(s, teacher, direction), student)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalise", ["none", "row_l2", "frobenius"])
@pytest.mark.parametrize("loss", [sample_consistency, channel_consistency])
def test_gradients_of_equations_4_and_5(loss: object, normalise: str) -> None:
    student, teacher = features(10).requires_grad_(), features(11)
    torch.autograd.gradcheck(lambda s: loss(s, teacher, normalise), student)  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("normalise", ["none", "row_l2", "frobenius"])
def test_a_dead_channel_is_harmless(dtype: torch.dtype, normalise: str) -> None:
    """After ReLU and pooling a channel is often zero over a batch; the authors' code gives NaN there."""
    student = torch.rand(8, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    student[:, 2] = 0
    teacher = student.clone() + 0.25
    teacher[:, 2] = 0
    student.requires_grad_()
    loss = channel_consistency(student, teacher, normalise) + sample_consistency(student, teacher, normalise)  # type: ignore[arg-type]
    loss.backward()
    assert loss.dtype == torch.float32
    assert student.grad is not None
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(student.grad).all())


def test_a_batch_of_zeros_is_harmless() -> None:
    student = torch.zeros(4, 3, requires_grad=True)
    (
        sample_consistency(student, torch.ones(4, 3)) + channel_consistency(student, torch.ones(4, 3))
    ).backward()
    assert student.grad is not None
    assert bool(torch.isfinite(student.grad).all())


def test_a_logit_gap_of_hundreds_is_finite() -> None:
    """softmax().log() gives inf here (docs/paper.md, row 7)."""
    student = torch.tensor([[200.0, 0.0]], requires_grad=True)
    loss = probability_consistency(student, torch.tensor([[0.0, 200.0]]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(200.0)
    assert student.grad is not None
    assert np.isfinite(student.grad.numpy()).all()
