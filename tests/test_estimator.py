"""VirtualFeatureClassifier: scikit-learn's contract, and the right values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from sklearn.covariance import OAS, LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

import lmd
from lmd.errors import CheckpointError, SettingsError
from lmd.estimator import VirtualFeatureClassifier
from lmd.estimator.parts import FOLDS, held_out_parts
from lmd.evaluation.probability.decisions import choose_tau
from lmd.evaluation.selective.unlikeness import RIDGE
from lmd.files import save_tree

COUNTS, CHANNELS = (200, 40, 8), 24


def drawn(counts: tuple[int, ...] = COUNTS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of overlapping classes, whose spreads differ."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = np.random.default_rng(7).normal(0, 0.6, (len(counts), CHANNELS))
    noise = random.normal(0, 1, (len(labels), CHANNELS)) * (1 + 0.3 * labels)[:, None]
    return means[labels] + noise, labels


X, Y = drawn()
TEST_X, TEST_Y = drawn((300, 300, 300), seed=1)


@pytest.fixture(scope="module")
def fitted() -> VirtualFeatureClassifier:
    return VirtualFeatureClassifier().fit(X, Y)


# scikit-learn's contract.


@pytest.mark.parametrize(
    "estimator", [VirtualFeatureClassifier(), VirtualFeatureClassifier("validation", "oas", tol=1e-3)]
)
def test_every_check_of_scikit_learn_passes(estimator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # Without it one check is skipped.
    found = check_estimator(estimator, on_skip=None, on_fail=None)
    assert {entry["check_name"]: entry["exception"] for entry in found if entry["status"] != "passed"} == {}
    assert len(found) > 45


def test_the_tags_say_what_it_takes() -> None:
    tags = get_tags(VirtualFeatureClassifier())
    assert tags.estimator_type == "classifier"
    assert tags.classifier_tags is not None
    assert tags.classifier_tags.multi_class
    assert tags.target_tags.required
    assert not tags.input_tags.sparse
    assert not tags.non_deterministic


def test_it_works_in_pipelines_and_searches() -> None:
    pipeline = make_pipeline(StandardScaler(), VirtualFeatureClassifier(0, tol=1e-3))
    scores = cross_val_score(pipeline, X, Y, scoring="balanced_accuracy", cv=3)
    assert scores.mean() > 0.6
    name = "virtualfeatureclassifier__tau"
    search = GridSearchCV(pipeline, {name: [0.0, 0.75]}, scoring="balanced_accuracy", cv=3).fit(X, Y)
    assert search.best_params_[name] in (0.0, 0.75)
    assert search.predict_proba(X).shape == (len(X), 3)


def test_it_works_in_pipelines_of_imbalanced_learn() -> None:
    pipelines = pytest.importorskip("imblearn.pipeline", reason="imbalanced-learn is not installed")
    from imblearn.over_sampling import RandomOverSampler

    pipeline = pipelines.make_pipeline(
        RandomOverSampler(random_state=0), VirtualFeatureClassifier(0, tol=1e-3)
    )
    assert cross_val_score(pipeline, X, Y, scoring="balanced_accuracy", cv=3).mean() > 0.6
    np.testing.assert_array_equal(pipeline.fit(X, Y)[-1].class_count_, [200, 200, 200])


# The right values.


def test_the_minimum_is_that_of_logistic_regression_on_many_virtual_features(
    fitted: VirtualFeatureClassifier,
) -> None:
    random, draws = np.random.default_rng(0), 40_000
    pairs = zip(fitted.means_, fitted.covariances_, strict=True)
    virtual = np.concatenate([random.multivariate_normal(mean, cov, draws) for mean, cov in pairs])
    labels, unit = np.repeat(np.arange(3), draws), fitted.scale_
    reference = LogisticRegression(C=1 / (len(labels) * fitted.l2), tol=1e-6).fit(virtual / unit, labels)
    np.testing.assert_allclose(fitted.coef_ * unit, reference.coef_, atol=0.01)
    np.testing.assert_allclose(
        fitted.ranking_proba(TEST_X), reference.predict_proba(TEST_X / unit), atol=0.01
    )


def test_decisions_are_shifted_by_tau_log_pi_and_rankings_are_not(fitted: VirtualFeatureClassifier) -> None:
    shares = np.array(COUNTS) / sum(COUNTS)
    logits = TEST_X @ fitted.coef_.T + fitted.intercept_
    expected = np.exp(logits) * shares**-0.75
    np.testing.assert_allclose(fitted.predict_proba(TEST_X), expected / expected.sum(1, keepdims=True))
    plain = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(fitted.ranking_proba(TEST_X), plain)
    np.testing.assert_allclose(fitted.decision_function(TEST_X), logits - 0.75 * np.log(shares))
    np.testing.assert_array_equal(fitted.predict(TEST_X), fitted.predict_proba(TEST_X).argmax(1))
    unshifted = VirtualFeatureClassifier(tau=0).fit(X, Y)
    np.testing.assert_array_equal(unshifted.coef_, fitted.coef_)
    np.testing.assert_allclose(unshifted.predict_proba(TEST_X), plain)
    rare = [model.predict(TEST_X).tolist().count(2) for model in (fitted, unshifted)]
    assert rare[0] > rare[1]


def test_of_two_classes_the_decision_is_a_difference() -> None:
    few, names = X[Y < 2], np.array(["benign", "malignant"])[Y[Y < 2]]
    model = VirtualFeatureClassifier().fit(few, names)
    decision = model.decision_function(few)
    assert decision.shape == (240,)
    np.testing.assert_allclose(1 / (1 + np.exp(-decision)), model.predict_proba(few)[:, 1])
    np.testing.assert_array_equal(model.predict(few), model.classes_[(decision > 0).astype(int)])


def test_neither_a_factor_nor_an_offset_of_all_features_changes_anything(
    fitted: VirtualFeatureClassifier,
) -> None:
    other = VirtualFeatureClassifier().fit(1000 * X + 300, Y)
    assert other.scale_ == pytest.approx(1000 * fitted.scale_)
    np.testing.assert_allclose(
        other.ranking_proba(1000 * TEST_X + 300), fitted.ranking_proba(TEST_X), atol=1e-6
    )


def test_the_unit_is_the_spread_within_classes() -> None:
    values = np.array([[0.0], [2.0], [10.0], [16.0], [99.0]])  # Variances 2 and 18; one image says nothing.
    assert VirtualFeatureClassifier().fit(values, [0, 0, 1, 1, 2]).scale_ == pytest.approx(np.sqrt(10))


def test_the_covariances_are_regularised_as_they_are_called(fitted: VirtualFeatureClassifier) -> None:
    rows, added = X[Y == 1], 0.1 * fitted.scale_**2 * np.eye(CHANNELS)
    np.testing.assert_allclose(fitted.means_[1], rows.mean(0))
    np.testing.assert_allclose(fitted.covariances_[1], np.cov(rows.T) + added)
    for kind, reference in (("oas", OAS()), ("ledoit_wolf", LedoitWolf())):
        found = VirtualFeatureClassifier(covariance=kind).fit(X, Y).covariances_[1]  # type: ignore[bad-argument-type]
        np.testing.assert_allclose(found, reference.fit(rows).covariance_ + added, rtol=1e-6)
    pooled = VirtualFeatureClassifier(covariance="pooled").fit(X, Y).covariances_[1]
    all_rows = np.concatenate([X[k == Y] - X[k == Y].mean(0) for k in range(3)])
    share = CHANNELS / (CHANNELS + 40)
    expected = (1 - share) * np.cov(rows.T) + share * all_rows.T @ all_rows / (len(X) - 3) + added
    np.testing.assert_allclose(pooled, expected)


def test_tau_by_validation_is_chosen_on_what_was_held_out() -> None:
    model = VirtualFeatureClassifier("validation", random_state=3).fit(X, Y)
    seed = int(np.random.RandomState(3).randint(2**31))
    parts = held_out_parts(Y, seed)
    logits = np.empty((len(X), 3))
    for part in range(FOLDS):
        twin = VirtualFeatureClassifier(0).fit(X[parts != part], Y[parts != part])
        logits[parts == part] = twin.decision_function(X[parts == part])
    assert model.tau_ == choose_tau(logits, Y, np.log(np.array(COUNTS) / sum(COUNTS)))
    np.testing.assert_array_equal(model.coef_, VirtualFeatureClassifier(0, random_state=3).fit(X, Y).coef_)


def test_each_class_is_spread_over_the_held_out_parts() -> None:
    parts = held_out_parts(np.repeat([0, 1, 2], [50, 7, 1]), seed=0)
    assert np.bincount(parts[:50]).tolist() == [10] * 5
    assert sorted(np.bincount(parts[50:57])) == [1, 1, 1, 2, 2]
    assert parts[57] == -1


def test_images_of_no_class_are_far_from_all(fitted: VirtualFeatureClassifier) -> None:
    strange = TEST_X[:100] + 8
    for relative in (False, True):
        near, far = (fitted.out_of_class_score(part, relative=relative) for part in (TEST_X, strange))
        assert np.median(far) > np.quantile(near, 0.99)
    covariance = np.mean([np.cov(X[k == Y].T) for k in range(3)], axis=0)
    covariance += RIDGE * covariance.diagonal().mean() * np.eye(CHANNELS)
    apart = TEST_X[:, None] - fitted.means_
    expected = np.einsum("nki,ij,nkj->nk", apart, np.linalg.inv(covariance), apart).min(1)
    np.testing.assert_allclose(fitted.out_of_class_score(TEST_X), expected)


def test_it_recognises_rare_classes_that_logistic_regression_misses() -> None:
    plain, chosen = LogisticRegression().fit(X, Y), VirtualFeatureClassifier("validation").fit(X, Y)
    ours, theirs = (balanced_accuracy_score(TEST_Y, model.predict(TEST_X)) for model in (chosen, plain))
    assert ours > theirs + 0.08


# What it takes, and what it refuses.


def test_a_class_of_one_image_and_labels_of_text_will_do() -> None:
    names = np.array(["common", "less", "rare"])
    rows = np.concatenate([np.flatnonzero(Y < 2), [240]])
    model = VirtualFeatureClassifier("validation").fit(pd.DataFrame(X[rows]).add_prefix("z"), names[Y[rows]])
    assert model.classes_.tolist() == names.tolist()
    assert model.class_count_.tolist() == [200, 40, 1]
    assert np.isfinite(model.coef_).all()
    assert model.feature_names_in_[0] == "z0"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tau": -1}, "tau = -1: must be a finite number of at least 0"),
        ({"tau": "val"}, 'or "validation"'),
        ({"l2": np.nan}, "l2 = nan"),
        ({"ridge": "x"}, "ridge = 'x'"),
        ({"covariance": "oass"}, "did you mean 'oas'"),
    ],
)
def test_a_parameter_out_of_range_is_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        VirtualFeatureClassifier(**parameters).fit(X, Y)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_features_that_no_classifier_can_be_fitted_to_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        VirtualFeatureClassifier().fit(np.where(X > 3, np.nan, X), Y)
    with pytest.raises(ValueError, match="one class: 0"):
        VirtualFeatureClassifier().fit(X, 0 * Y)


# Files.


@pytest.mark.parametrize(
    "names", [np.array([3, 7, 9]), np.array(["naevus", "melanoma", "ä"]), np.array(list("abc"), object)]
)
def test_a_saved_estimator_answers_as_before(names: np.ndarray, tmp_path: Path) -> None:
    table = pd.DataFrame(X).add_prefix("z")
    model = VirtualFeatureClassifier(tau=np.float64(0.5), random_state=None).fit(table, names[Y])
    model.save(tmp_path / "model.safetensors")
    again = VirtualFeatureClassifier.load(tmp_path / "model.safetensors")
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))
    np.testing.assert_array_equal(again.covariances_, model.covariances_)
    assert again.get_params() == {**model.get_params(), "random_state": 0}
    assert again.feature_names_in_.tolist() == model.feature_names_in_.tolist()
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert len(list(file.keys())) > 5


def test_a_file_of_something_else_is_refused(tmp_path: Path, fitted: VirtualFeatureClassifier) -> None:
    fitted.save(tmp_path / "model")
    damaged = bytearray((tmp_path / "model").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    (tmp_path / "text").write_text("no tensors")
    save_tree(tmp_path / "other", {"weights": 1})
    for name in ("damaged", "text", "other", "missing"):
        with pytest.raises(CheckpointError, match=name):
            VirtualFeatureClassifier.load(tmp_path / name)


def test_the_package_offers_it() -> None:
    assert lmd.VirtualFeatureClassifier is VirtualFeatureClassifier
