"""The temperature that is fitted after training."""

from __future__ import annotations

import numpy as np
import pytest

from lmd.evaluation.probability.decisions import softmax
from lmd.evaluation.probability.temperature import fit_temperature, negative_log_likelihood, temperature_for
from lmd.model_card import Prior
from tests.evaluation import probable

PRIOR = np.log([0.8, 0.15, 0.05])


def drawn(number: int, offset: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn from their softmax with an offset: the right temperature is 1."""
    generator = np.random.default_rng(3)
    logits = generator.normal(scale=2, size=(number, 3))
    sums = softmax(logits + offset).cumsum(1)
    return logits, (generator.random((number, 1)) > sums).sum(1)


@pytest.mark.parametrize("wanted", [0.4, 1.0, 3.0])
def test_a_temperature_that_was_put_in_is_found(wanted: float) -> None:
    logits, labels = drawn(20_000)
    assert fit_temperature(logits * wanted, labels) == pytest.approx(wanted, rel=0.03)


def test_no_other_temperature_has_a_better_likelihood() -> None:
    logits, labels = drawn(200)
    found = fit_temperature(logits * 3, labels)
    assert found is not None
    best = negative_log_likelihood(logits * 3 / found, labels)
    assert best < negative_log_likelihood(logits * 3, labels) - 0.1
    others = [negative_log_likelihood(logits * 3 / t, labels) for t in np.geomspace(0.05, 20, 400)]
    assert best <= min(others) + 1e-9


def test_outputs_for_equally_frequent_classes_are_judged_as_such() -> None:
    """The labels follow p pi: the temperature of p alone would be another."""
    logits, labels = drawn(20_000, PRIOR)
    assert fit_temperature(logits, labels, PRIOR) == pytest.approx(1.0, rel=0.03)
    assert abs(float(fit_temperature(logits, labels) or 0) - 1) > 0.2


@pytest.mark.parametrize(("prior", "part"), [("training", 1.0), ("uniform", 0.0), ("unknown", 0.5)])
def test_a_temperature_does_not_answer_for_the_shares_of_validation(prior: Prior, part: float) -> None:
    """Equal shares in validation; outputs that imply the training shares, equal ones, or something between."""
    counts = np.array([8000, 1500, 500])
    labels, likelihoods = probable.drawn(6000, np.full(3, 1 / 3), gap=1.0)
    found = temperature_for(prior, 3 * (likelihoods + part * PRIOR), labels, counts)
    assert found == pytest.approx(3, rel=0.06)
    if part:
        plain = fit_temperature(3 * (likelihoods + part * PRIOR), labels)
        assert abs(float(plain or 0) - 3) > 0.5


def test_where_all_are_right_or_the_logits_say_nothing_there_is_none() -> None:
    logits = 5 * np.eye(3)[[0, 1, 2, 2]]
    assert fit_temperature(logits, np.array([0, 1, 2, 2])) is None
    assert fit_temperature(logits, np.array([1, 2, 0, 0])) is None
    assert fit_temperature(np.zeros((4, 3)), np.array([0, 1, 2, 2])) is None
