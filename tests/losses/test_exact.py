"""The exact M-step, against sampling, closed forms and Stein's lemma."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmd.losses import exact
from lmd.losses.covariance import shrink
from lmd.losses.exact import ExpectedCrossEntropy, minimise, quasi_normal
from lmd.losses.gaussian import ClassGaussians, class_statistics
from lmd.losses.virtual import VirtualFeatures
from tests.losses.test_gaussian import sample


def gaussians_of(counts: list[int], channels: int = 5, ridge: float = 0.05) -> ClassGaussians:
    return shrink(class_statistics(*sample(counts, channels), len(counts)), "ridge", ridge)


def head(classes: int, channels: int, seed: int = 0, scale: float = 0.5) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    weight = scale * torch.randn(classes, channels, generator=random, dtype=torch.float64)
    return weight, scale * torch.randn(classes, generator=random, dtype=torch.float64)


def objective_of(gaussians: ClassGaussians, draws: int = 4096, l2: float = 0.0) -> ExpectedCrossEntropy:
    points = quasi_normal(len(gaussians.mean) - 1, draws, seed=1)
    return ExpectedCrossEntropy(gaussians, points, l2, torch.float64)


def test_the_points_are_standard_normal() -> None:
    points = quasi_normal(5, 2048, seed=3)
    torch.testing.assert_close(points @ points.T / 2048, torch.eye(5).double(), atol=0.02, rtol=0)
    torch.testing.assert_close((points**4).mean(1), 3 * torch.ones(5).double(), atol=0.1, rtol=0)
    assert torch.equal(points, quasi_normal(5, 2048, seed=3))
    assert not torch.equal(points, quasi_normal(5, 2048, seed=4))


@pytest.mark.parametrize("counts", [[40, 12, 3], [30, 1]])
def test_value_and_gradient_are_the_limits_of_the_sampled_ones(counts: list[int]) -> None:
    """Eq. 8 on 2 x 10^5 virtual features per class; tolerance: five standard errors of that mean."""
    gaussians, classes = gaussians_of(counts), len(counts)
    weight, bias = (part.requires_grad_() for part in head(classes, 5))
    labels = torch.arange(4000 * classes) % classes
    samples = []
    for features in VirtualFeatures(gaussians, torch.float64).stream(
        50 * len(labels), len(labels), torch.Generator().manual_seed(0)
    ):
        loss = F.cross_entropy(F.linear(features, weight, bias), labels)
        gradients = torch.autograd.grad(loss, (weight, bias))
        samples.append(torch.cat([loss.detach()[None], *(gradient.flatten() for gradient in gradients)]))
    sampled = torch.stack(samples)
    error = sampled.std(0) / math.sqrt(len(sampled))
    value, *gradients = objective_of(gaussians)(weight.detach(), bias.detach())
    found = torch.cat([torch.tensor([value]).double(), *(gradient.flatten() for gradient in gradients)])
    assert bool(((found - sampled.mean(0)).abs() < 5 * error + 2e-4).all())


def test_the_gradient_is_that_of_steins_lemma() -> None:
    """dL/dW = (1/K) sum_k E[p - e_k] mu_k^T + E[diag(p) - p p^T] W Sigma_k, another estimate of the same."""
    gaussians = gaussians_of([40, 12, 3])
    weight, bias = head(3, 5)
    expected = torch.zeros_like(weight)
    noise = quasi_normal(3, 8192, seed=9)
    for k in range(3):
        sigma = gaussians.matrix(k)
        root = torch.linalg.cholesky(weight @ sigma @ weight.T)
        p = (weight @ gaussians.mean[k] + bias + (root @ noise).T).softmax(1)
        residual = (p - F.one_hot(torch.tensor(k), 3)).mean(0)
        curvature = torch.diag(p.mean(0)) - p.T @ p / len(p)
        expected += (torch.outer(residual, gaussians.mean[k]) + curvature @ weight @ sigma) / 3
    _, found, _ = objective_of(gaussians, 8192)(weight, bias)
    torch.testing.assert_close(found, expected, atol=5e-4, rtol=0)


@pytest.mark.parametrize("counts", [[40, 12, 2], [30, 4]])
def test_gradcheck(counts: list[int]) -> None:
    """The gradient is exactly that of the value, however few the draws."""
    objective = objective_of(gaussians_of(counts), draws=6, l2=0.3)
    weight, bias = (part.requires_grad_() for part in head(len(counts), 5))

    def value(weight: Tensor, bias: Tensor) -> Tensor:
        """The objective's value, to which autograd knows no gradient but the one that it gives itself."""
        found, *gradients = objective(weight.detach(), bias.detach())
        changes = [p - p.detach() for p in (weight, bias)]
        return found + sum((g * change).sum() for g, change in zip(gradients, changes, strict=True))

    torch.autograd.gradcheck(value, (weight, bias))


def isda_bound(gaussians: ClassGaussians, weight: Tensor, bias: Tensor) -> float:
    """log sum_j E[exp(s_j - s_k)] in closed form (Wang et al., NeurIPS 2019), by Jensen's inequality."""
    total = 0.0
    for k in range(len(weight)):
        difference = weight - weight[k]
        mean = difference @ gaussians.mean[k] + bias - bias[k]
        variance = ((difference @ gaussians.matrix(k)) * difference).sum(1)
        total += float(torch.logsumexp(mean + 0.5 * variance, 0)) / len(weight)
    return total


@given(st.integers(0, 10**6), st.floats(0.05, 2.0))
def test_isdas_closed_form_is_an_upper_bound(seed: int, scale: float) -> None:
    gaussians = gaussians_of([40, 12, 3])
    weight, bias = head(3, 5, seed, scale)
    value, _, _ = objective_of(gaussians, 1024)(weight, bias)
    assert value <= isda_bound(gaussians, weight, bias) + 1e-6
    if scale < 0.1:  # Where the logits hardly vary, the bound is tight.
        assert value == pytest.approx(isda_bound(gaussians, weight, bias), rel=0.05)


@given(st.integers(0, 10**6))
def test_the_objective_is_convex(seed: int) -> None:
    objective = objective_of(gaussians_of([40, 12, 3]), 1024)
    (w1, b1), (w2, b2) = head(3, 5, seed), head(3, 5, seed + 1)
    ends = [objective(w1, b1)[0], objective(w2, b2)[0]]
    middle, _, _ = objective((w1 + w2) / 2, (b1 + b2) / 2)
    assert middle <= sum(ends) / 2 + 1e-4


@pytest.mark.parametrize("method", ["ridge", "oas"])
def test_roots_and_matrices_give_the_same(method: str) -> None:
    raw = class_statistics(*sample([40, 12, 3], channels=12), 3)
    roots = shrink(raw, method)  # type: ignore[arg-type]
    assert [len(spread) for spread in roots.spread] == [12, 12, 3]
    full = replace(roots, spread=tuple(roots.covariance), floor=torch.zeros_like(roots.floor))
    weight, bias = head(3, 12)
    for found, expected in zip(
        objective_of(roots)(weight, bias), objective_of(full)(weight, bias), strict=True
    ):
        torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), rtol=1e-8, atol=1e-10)


def test_blocks_of_classes_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians, point = gaussians_of([40, 12, 3, 9, 6]), head(5, 5)
    whole = objective_of(gaussians)(*point)
    monkeypatch.setattr(exact, "BLOCK", 2 * 4 * 4096)
    blocks = objective_of(gaussians)
    assert [len(labels) for labels in blocks.blocks] == [2, 2, 1]
    for found, expected in zip(blocks(*point), whole, strict=True):
        torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), rtol=1e-12, atol=1e-14)


def test_at_the_origin_the_classes_are_equally_likely() -> None:
    gaussians = gaussians_of([40, 12, 3])
    value, to_weight, _ = objective_of(gaussians)(
        torch.zeros(3, 5, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    )
    assert value == pytest.approx(math.log(3), abs=1e-6)
    expected = (1 / 3 - torch.eye(3).double()) @ gaussians.mean / 3
    torch.testing.assert_close(to_weight, expected, atol=1e-6, rtol=0)


def test_with_one_covariance_the_minimum_is_linear_discriminant_analysis() -> None:
    """w_j - w_0 = Sigma^{-1} (mu_j - mu_0), b_j - b_0 = -(mu_j Sigma^{-1} mu_j - mu_0 Sigma^{-1} mu_0) / 2."""
    gaussians = gaussians_of([40, 50, 60])
    sigma = gaussians.matrix(0)
    common = replace(gaussians, spread=(sigma,) * 3, floor=torch.zeros_like(gaussians.floor))
    found = minimise(objective_of(common, 8192), *head(3, 5), tolerance=1e-6)
    assert found.gradient <= 1e-6
    lda = gaussians.mean @ torch.linalg.inv(sigma)
    constant = -0.5 * (lda * gaussians.mean).sum(1)
    wanted = torch.cat([lda[1:] - lda[0], (constant[1:] - constant[0])[:, None]], 1)
    reached = torch.cat([found.weight[1:] - found.weight[0], (found.bias[1:] - found.bias[0])[:, None]], 1)
    torch.testing.assert_close(reached, wanted, rtol=0.03, atol=0.03 * float(wanted.abs().max()))


def test_the_minimum_is_one_and_the_way_there_is_repeatable() -> None:
    objective = objective_of(gaussians_of([40, 12, 3]), 1024, l2=0.01)
    first, again = (minimise(objective, *head(3, 5), tolerance=1e-7) for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    other = minimise(objective, *head(3, 5, seed=5, scale=3.0), tolerance=1e-7)
    torch.testing.assert_close(other.weight, first.weight, atol=1e-4, rtol=0)
    assert other.value == pytest.approx(first.value, abs=1e-8)


def test_a_warm_start_is_short() -> None:
    gaussians = gaussians_of([40, 12, 3])
    cold = minimise(objective_of(gaussians, 512, 0.01), *head(3, 5))
    moved = replace(gaussians, mean=gaussians.mean * 1.001)
    warm = minimise(objective_of(moved, 512, 0.01), cold.weight, cold.bias)
    assert cold.gradient <= 1e-4
    assert warm.gradient <= 1e-4
    assert warm.evaluations * 2 < cold.evaluations


def test_an_l2_term_bounds_what_is_separable() -> None:
    none = torch.zeros(0, 2, dtype=torch.float64)
    mean = torch.tensor([[5.0, 0.0], [0.0, 5.0]]).double()
    separable = ClassGaussians(mean, (none, none), torch.tensor([1, 1]), torch.full((2, 2), 1e-4).double())
    start = torch.zeros(2, 2).double(), torch.zeros(2).double()
    norms = [float(minimise(objective_of(separable, 64, l2), *start).weight.norm()) for l2 in (0.1, 0.01)]
    assert 0.1 < norms[0] < norms[1] < 2


def test_the_number_of_evaluations_is_bounded() -> None:
    found = minimise(objective_of(gaussians_of([40, 12, 3])), *head(3, 5), 1e-12, evaluations=5)
    assert found.evaluations <= 5 + 25  # The line search in hand is finished.
    assert found.gradient > 1e-12


def test_single_precision_reaches_the_same_minimum() -> None:
    gaussians = gaussians_of([400, 120, 6], channels=16, ridge=0.01)
    points = quasi_normal(2, 1024, seed=1)
    wide = minimise(ExpectedCrossEntropy(gaussians, points, 0.01, torch.float64), *head(3, 16), 1e-6)
    narrow = minimise(
        ExpectedCrossEntropy(gaussians, points, 0.01), *(part.float() for part in head(3, 16)), 1e-5
    )
    assert narrow.gradient < 1e-4
    torch.testing.assert_close(narrow.weight.double(), wide.weight, atol=2e-3, rtol=0)


@pytest.mark.parametrize("classes", [1, 30_000])
def test_a_number_of_classes_without_points_is_refused(classes: int) -> None:
    with pytest.raises(ValueError, match=rf"needs 2 to \d+ classes, not {classes}"):
        quasi_normal(classes - 1, 8, seed=0)


@pytest.mark.parametrize("sure_of", [0, 2])
def test_a_logit_gap_of_hundreds_is_finite(sure_of: int) -> None:
    """Also where the first class, whose logit is 0 by definition, leads all others."""
    gaussians = gaussians_of([40, 12, 3])
    objective = ExpectedCrossEntropy(gaussians, quasi_normal(2, 64, seed=0))
    bias = 300.0 * F.one_hot(torch.tensor(sure_of), 3)
    value, *gradients = objective(torch.full((3, 5), 1e-6), bias.float())
    assert value == pytest.approx(200.0, rel=1e-4)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_a_classifier_that_has_diverged_is_named() -> None:
    weight, bias = head(3, 5)
    weight[1, 2] = float("nan")
    with pytest.raises(ValueError, match="covariance of the logits"):
        objective_of(gaussians_of([40, 12, 3]))(weight, bias)
