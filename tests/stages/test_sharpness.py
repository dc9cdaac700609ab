"""Steps uphill: their length, their direction, and that they are taken back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lmd.stages.sharpness import focal_weights, moved_uphill, same_statistics


def test_weights_move_by_the_radius_along_their_gradient_and_back_bit_for_bit() -> None:
    first, second, still = (torch.randn(3, requires_grad=True) for _ in range(3))
    first.grad, second.grad = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 4.0, 0.0])
    before = [one.detach().clone() for one in (first, second, still)]
    with moved_uphill([first, second, still], 0.5):
        assert torch.allclose(first.detach() - before[0], torch.tensor([0.3, 0.0, 0.0]), atol=1e-6)
        assert torch.allclose(second.detach() - before[1], torch.tensor([0.0, 0.4, 0.0]), atol=1e-6)
        assert torch.equal(still, before[2])
        assert torch.is_grad_enabled()
    for one, was in zip((first, second, still), before, strict=True):
        assert torch.equal(one, was)


def test_the_gradient_at_the_top_is_that_of_sharpness_aware_minimisation() -> None:
    # L = a w^2 / 2: at w + rho sign(w) the gradient is a (w + rho).
    weight = torch.tensor([2.0], requires_grad=True)
    (1.5 * weight**2).sum().backward()
    with moved_uphill([weight], 0.1):
        gradient = torch.autograd.grad((1.5 * weight**2).sum(), weight)[0]
    assert gradient.item() == pytest.approx(3.0 * 2.1)


def test_nothing_moves_where_there_is_no_slope() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    weight.grad = torch.zeros(1)
    with moved_uphill([weight], 0.1):
        assert weight.item() == 2.0


def test_weights_come_back_after_an_error() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    weight.grad = torch.ones(1)
    with pytest.raises(ValueError, match="stop"), moved_uphill([weight], 0.1):
        raise ValueError("stop")
    assert weight.item() == 2.0


def test_the_rarer_class_says_more_of_where_uphill_is() -> None:
    assert focal_weights(torch.tensor([0.9, 0.1]), 2.0).tolist() == pytest.approx([0.01, 0.81])
    assert focal_weights(torch.tensor([0.9, 0.1]), 0.0).tolist() == [1.0, 1.0]


def test_running_statistics_stay_and_are_kept_again_afterwards() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    images = torch.randn(8, 2)
    mean = network[1].running_mean
    with same_statistics(network):
        network(images)
        assert torch.equal(mean, torch.zeros(3))
    network(images)
    assert not torch.equal(mean, torch.zeros(3))
