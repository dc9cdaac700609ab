"""The network, BatchNorm's re-estimation, heads and the teacher."""

from __future__ import annotations

import torch
from torch import nn

from lmd.models.classifier import build_classifier
from lmd.models.network import Network, batch_norms, mode, recalibrate_batch_norm
from lmd.models.teacher import Teacher, ema_decay


def tiny(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    encoder = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return Network(encoder, build_classifier("linear", 4, 3, seed))


def test_a_head_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    first = build_classifier("linear", 8, 3, 5).state_dict()
    torch.manual_seed(2)
    again, other = build_classifier("linear", 8, 3, 5).state_dict(), build_classifier("linear", 8, 3, 6)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["weight"], other.state_dict()["weight"])


def test_a_cosine_head_does_not_see_norms() -> None:
    head, features = build_classifier("cosine", 8, 3, 0), torch.randn(5, 8)
    torch.testing.assert_close(head(features), head(7 * features))


def test_recalibration_gives_the_plain_average_over_batches() -> None:
    network = tiny().double()
    (layer,) = batch_norms(network)
    batches = [torch.randn(6, 3, 8, 8).double() * (i + 1) for i in range(3)]
    with torch.no_grad():
        inputs = [network.encoder[0](batch) for batch in batches]  # type: ignore[index]
    expected = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    variance = torch.stack([x.var((0, 2, 3)) for x in inputs]).mean(0)
    network.eval()
    recalibrate_batch_norm(network.encoder, batches)
    torch.testing.assert_close(layer.running_mean, expected)
    torch.testing.assert_close(layer.running_var, variance)
    assert layer.momentum == 0.1
    assert not network.training


def test_recalibration_leaves_weights_and_other_networks_alone() -> None:
    network = tiny()
    before = [parameter.clone() for parameter in network.parameters()]
    recalibrate_batch_norm(network.encoder, [torch.randn(4, 3, 8, 8)])
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    recalibrate_batch_norm(nn.Linear(2, 2), [torch.randn(4, 2)])


def test_mode_restores_each_part() -> None:
    network = tiny().train()
    batch_norms(network)[0].eval()
    with mode(network, training=True):
        assert batch_norms(network)[0].training
    assert network.training
    assert not batch_norms(network)[0].training


def test_the_teacher_starts_as_a_copy_and_then_averages() -> None:
    student = tiny()
    teacher = Teacher(tiny(seed=9), decay=0.9)
    teacher.follow(student, teacher.weight(0))
    pairs = list(zip(teacher.network.parameters(), student.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    old = [a.clone() for a, _ in pairs]
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    teacher.follow(student, teacher.weight(99))
    for before, (after, target) in zip(old, pairs, strict=True):
        torch.testing.assert_close(after, 0.9 * before + 0.1 * target.detach())


def test_ema_decay_follows_its_formula() -> None:
    assert [ema_decay(t, 0.999) for t in (0, 1, 3)] == [0.0, 0.5, 0.75]
    assert ema_decay(10**6, 0.999) == 0.999


def test_the_teacher_normalises_with_its_batch_and_is_exported_with_the_students_statistics() -> None:
    student = tiny()
    teacher = Teacher(student, 0.9)
    images = torch.randn(4, 3, 8, 8)
    student.train()(images + 1)  # Its running statistics are others than the teacher's own.
    output = teacher(images)
    assert not output.logits.requires_grad
    teacher.follow(student, teacher.weight(99))
    mean, target = teacher.export(student)["encoder.1.running_mean"], student.encoder[1].running_mean  # type: ignore[index]
    torch.testing.assert_close(mean, target)
    torch.testing.assert_close(teacher(images).features, student.train()(images).features, atol=1e-5, rtol=0)
