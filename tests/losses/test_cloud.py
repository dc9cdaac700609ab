"""GCL's clouds against their formulas, the distribution of the noise, and their extremes."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from scipy import stats

from lmd.losses.cloud import angular_clouded_logits, clipped_noise, cloud_sizes, clouded_logits

GENERATOR = torch.Generator().manual_seed(0)
COSINES = torch.rand(6, 3, dtype=torch.float64, generator=GENERATOR) * 1.9 - 0.95
NOISE = torch.rand(6, 3, dtype=torch.float64, generator=GENERATOR) * 2 - 1
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])
SIZES = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)


def test_sizes_against_the_formula() -> None:
    counts = [9012, 324, 90]
    expected = [(math.log(9012) - math.log(n)) / (math.log(9012) - math.log(90)) for n in counts]
    assert cloud_sizes(torch.tensor(counts)).tolist() == pytest.approx(expected, abs=1e-12)


def test_an_absent_class_takes_the_largest_cloud() -> None:
    assert cloud_sizes(torch.tensor([100, 0, 10, 1])).tolist() == pytest.approx([0, 1, 0.5, 1])


@pytest.mark.parametrize("counts", [[7, 7, 7], [4, 0, 4], [3]])
def test_equal_counts_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="GCL needs classes of different sizes, found"):
        cloud_sizes(torch.tensor(counts))


def test_the_noise_is_a_clipped_gaussian() -> None:
    torch.manual_seed(3)
    noise = clipped_noise((20000, 2)).flatten().double().numpy()
    inside = noise[abs(noise) < 1]
    assert stats.kstest(inside, stats.truncnorm(-3, 3, scale=1 / 3).cdf).pvalue > 0.01
    assert 1 - len(inside) / len(noise) == pytest.approx(2 * stats.norm.sf(3), abs=1e-3)


def test_the_noise_comes_from_the_generator_that_each_epoch_seeds() -> None:
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(clipped_noise((5, 3)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_cosine_form_against_a_loop() -> None:
    logits = clouded_logits(COSINES, LABELS, SIZES, NOISE, 20.0, 0.5, 0.1)
    for i, label in enumerate(LABELS.tolist()):
        for k in range(3):
            shift = 0.5 * float(SIZES[k]) * abs(float(NOISE[i, k])) + 0.1 * (k == label)
            assert float(logits[i, k]) == pytest.approx(20 * (float(COSINES[i, k]) - shift))


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.5])
def test_the_angular_form_against_a_loop(margin: float) -> None:
    logits = angular_clouded_logits(COSINES, LABELS, SIZES, NOISE, 20.0, 0.1, margin, easy_margin=False)
    passed = 0
    for i, label in enumerate(LABELS.tolist()):
        for k in range(3):
            cosine = float(COSINES[i, k])
            turn = math.pi / 2 * 0.1 * float(SIZES[k]) * abs(float(NOISE[i, k])) + margin * (k == label)
            angle = math.acos(cosine) + turn
            passed += angle > math.pi
            expected = cosine - math.sin(turn) if angle > math.pi else math.cos(angle)
            assert float(logits[i, k]) == pytest.approx(20 * expected, abs=1e-4)
    assert (passed > 0) == (margin == 1.5)  # Both branches are seen.


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_the_angular_form_with_an_easy_margin_against_a_loop(margin: float) -> None:
    logits = angular_clouded_logits(COSINES, LABELS, SIZES, NOISE, 30.0, 0.5, margin)
    for i, label in enumerate(LABELS.tolist()):
        for k in range(3):
            angle = math.acos(float(COSINES[i, k]))
            if angle < math.pi / 2:
                angle += math.pi / 2 * 0.5 * float(SIZES[k]) * abs(float(NOISE[i, k])) + margin * (k == label)
            assert float(logits[i, k]) == pytest.approx(30 * math.cos(angle), abs=1e-4)
    assert 0 < int((COSINES > 0).sum()) < COSINES.numel()  # Both branches are seen.


def test_without_noise_and_margin_both_are_the_scaled_cosines() -> None:
    still = torch.zeros_like(NOISE)
    for form in (clouded_logits, angular_clouded_logits):
        torch.testing.assert_close(form(COSINES, LABELS, SIZES, still, 20.0), 20 * COSINES)


def test_gradients() -> None:
    cosines = COSINES.clone().requires_grad_()
    for form in (clouded_logits, angular_clouded_logits, partial(angular_clouded_logits, easy_margin=False)):
        torch.autograd.gradcheck(lambda s, form=form: form(s, LABELS, SIZES, NOISE, 20.0, 0.3, 0.1), cosines)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cosines_of_one_have_a_finite_gradient(dtype: torch.dtype) -> None:
    for form in (clouded_logits, angular_clouded_logits, partial(angular_clouded_logits, easy_margin=False)):
        cosines = torch.tensor([[1.0, -1.0, 1.0]], dtype=dtype, requires_grad=True)
        logits = form(cosines, torch.tensor([2]), SIZES, torch.ones(1, 3), 30.0, 0.5, 0.1)
        logits.sum().backward()
        assert logits.dtype == torch.float32
        assert bool(torch.isfinite(logits).all())
        assert cosines.grad is not None
        assert bool(torch.isfinite(cosines.grad).all())
