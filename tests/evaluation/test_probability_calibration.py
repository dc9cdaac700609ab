"""Temperature, bias and vector scaling: they find what was done to true probabilities, and change NLL."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from lmd.evaluation.probability.calibration import (
    Kind,
    all_right,
    at_temperature,
    fit,
    fitted,
    out_of_fold,
)
from lmd.evaluation.probability.metrics import log_losses
from tests.evaluation.probable import SHARES, drawn, posterior

LABELS, SCORES = drawn(2000)
OTHERS, OTHER_SCORES = drawn(4000, seed=1)
TRUE = posterior(SCORES, SHARES)
SHARP, OTHER_SHARP = posterior(SCORES, SHARES, 0.4), posterior(OTHER_SCORES, SHARES, 0.4)


def nll(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(log_losses(labels, probabilities).mean())


def test_temperature_scaling_lowers_the_log_loss_of_overconfident_probabilities() -> None:
    made = fit("temperature", LABELS, SHARP)
    assert made.temperature == pytest.approx(2.5, rel=0.1)  # They were made with T = 0.4.
    before, after = nll(OTHERS, OTHER_SHARP), nll(OTHERS, made(OTHER_SHARP))
    assert after < before - 0.05
    assert after == pytest.approx(nll(OTHERS, posterior(OTHER_SCORES, SHARES)), abs=0.005)
    assert np.abs(made(OTHER_SHARP) - OTHER_SHARP).max() > 0.1  # It is not its input.
    assert (made(OTHER_SHARP).argmax(1) == OTHER_SHARP.argmax(1)).all()


def test_the_temperature_is_scipys_minimum() -> None:
    logits = np.log(SHARP)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(LABELS)), LABELS].mean())

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit("temperature", LABELS, SHARP).temperature == pytest.approx(np.exp(found.x), rel=1e-4)


def test_calibrated_probabilities_stay_what_they_are() -> None:
    for kind in ("temperature", "bias", "vector"):
        assert np.abs(fit(kind, LABELS, TRUE)(TRUE) - TRUE).mean() < 0.01


def test_a_bias_undoes_other_shares_and_gives_each_class_its_share() -> None:
    elsewhere = posterior(SCORES, np.array([0.1, 0.3, 0.6]), 0.5)
    made = fit("bias", LABELS, elsewhere)
    found = made(elsewhere)
    np.testing.assert_allclose(found.mean(0), np.bincount(LABELS) / len(LABELS), atol=1e-5)
    assert made.temperature == pytest.approx(2.0, rel=0.1)
    assert np.abs(found - TRUE).mean() < 0.01


def test_a_temperature_with_the_shares_in_its_offset_does_not_answer_for_them() -> None:
    """Validation with as many images of each class, and probabilities that imply the training shares."""
    labels, scores = drawn(3000, np.full(3, 1 / 3), gap=1.0)
    training = posterior(scores, np.array([0.9, 0.08, 0.02]), 0.5)
    offset = np.log(np.bincount(labels) / len(labels) / np.array([0.9, 0.08, 0.02]))
    assert fit("temperature", labels, training).temperature > 3
    # The offset stands behind the temperature: T (log p + log of the shares) is what was made sharp.
    made = fit("temperature", labels, training, offset)
    assert made.temperature == pytest.approx(2.0, rel=0.1)


def test_vector_scaling_is_a_penalised_regression_on_log_probabilities() -> None:
    """Of two classes, only z_1 - z_0 and one scale for each: the gradient at the minimum is zero."""
    made = fitted("vector", LABELS, SHARP)
    value, gradient = made.cases.loss(made.theta, made.unpack)
    assert np.abs(gradient).max() < 1e-6
    for move in 0.05 * np.eye(6):
        assert made.cases.loss(made.theta + move, made.unpack)[0] > value


def test_the_gradient_is_that_of_differences() -> None:
    made = fitted("vector", LABELS, SHARP)
    at, step = made.theta + 0.3, 1e-6
    slope = [
        (made.cases.loss(at + move, made.unpack)[0] - made.cases.loss(at - move, made.unpack)[0]) / (2 * step)
        for move in step * np.eye(6)
    ]
    np.testing.assert_allclose(made.cases.loss(at, made.unpack)[1], slope, atol=1e-6)


def test_how_sure_a_bias_is_is_that_of_logistic_regression() -> None:
    """Of two classes with the scale fixed by many cases: the inverse information of the log odds."""
    labels, scores = drawn(3000, np.array([0.6, 0.4]))
    made = fitted("bias", labels, posterior(scores, np.array([0.5, 0.5])))
    odds = np.diff(made.calibration(made.cases.z * 0 + np.exp(made.cases.z)), axis=1)
    z = np.c_[np.diff(made.cases.z, axis=1)[:, 0], np.ones(3000)]
    model = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-10).fit(z, labels)
    share = model.predict_proba(z)[:, 1]
    information = (z * (share * (1 - share))[:, None]).T @ z
    covariance = made.covariance()
    of_difference = np.array([[1, 0, 0], [0, -1, 1]]) @ covariance @ np.array([[1, 0, 0], [0, -1, 1]]).T
    np.testing.assert_allclose(of_difference, np.linalg.inv(information), rtol=1e-3, atol=1e-8)
    assert odds.shape == (3000, 1)


def test_copies_in_a_group_make_a_calibration_no_surer() -> None:
    """Ten copies of each case, as one group: the covariance is that of the cases once."""
    labels, probabilities = LABELS[:300], SHARP[:300]
    once = fitted("bias", labels, probabilities)
    ten = fitted("bias", np.repeat(labels, 10), np.repeat(probabilities, 10, 0))
    single = once.covariance(np.arange(300))
    np.testing.assert_allclose(ten.covariance(np.repeat(np.arange(300), 10)), single, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(ten.covariance(), once.covariance() / 10, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["bias", "vector"])
def test_the_two_covariances_agree_where_each_case_is_its_own_group(kind: Kind) -> None:
    made = fitted(kind, LABELS, SHARP)
    plain, by_group = made.covariance(), made.covariance(np.arange(len(LABELS)))
    assert np.trace(by_group) == pytest.approx(np.trace(plain), rel=0.15)


def test_cases_that_are_all_right_are_known_because_they_bound_no_temperature() -> None:
    labels = np.array([0, 1, 2] * 5)
    sure = np.eye(3)[labels] * 0.8 + 0.2 / 3
    assert all_right(labels, sure)
    assert fit("temperature", labels, sure).temperature < 0.2
    assert not all_right(LABELS, SHARP)


def test_a_class_that_was_not_there_gets_a_finite_bias_by_vector_scaling() -> None:
    here = LABELS < 2
    made = fit("vector", LABELS[here], SHARP[here])
    assert np.isfinite(made.bias).all()
    assert np.isfinite(made(SHARP)).all()


def test_probabilities_of_zero_and_one_are_calibrated() -> None:
    hard = np.eye(3)[SHARP.argmax(1)]
    found = fit("temperature", LABELS, hard)(hard)
    right = (SHARP.argmax(1) == LABELS).mean()
    assert np.isfinite(found).all()
    assert found.max() == pytest.approx(right, abs=0.01)


def test_out_of_fold_no_case_calibrates_itself() -> None:
    """A label that is changed alters the other folds' results, and those of its own fold not at all."""
    few, probabilities = LABELS[:120], SHARP[:120]
    clusters = np.repeat(np.arange(60), 2)
    found = out_of_fold("vector", few, probabilities, clusters)
    changed = few.copy()
    changed[1] = (changed[1] + 1) % 3  # The second image of its group: the folds stay what they are.
    other = out_of_fold("vector", changed, probabilities, clusters)
    same = np.isclose(found, other, rtol=0, atol=1e-12).all(1)
    assert same[0]
    assert same[1]
    assert 10 < same.sum() < 40
    assert nll(few, found) < nll(few, probabilities)


def test_at_temperature_is_undone_by_its_inverse() -> None:
    np.testing.assert_allclose(at_temperature(at_temperature(TRUE, 3.0), 1 / 3.0), TRUE, atol=1e-9)
