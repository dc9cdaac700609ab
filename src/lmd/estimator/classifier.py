"""ICC's M-step as a scikit-learn classifier, for the features of any frozen encoder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data  # type: ignore[missing-module-attribute]

from lmd.errors import SettingsError, advising, suggest
from lmd.estimator.files import read_fitted, write_fitted
from lmd.estimator.parts import held_out_parts
from lmd.estimator.units import common_scale, in_units
from lmd.evaluation.probability.decisions import choose_tau, log_prior, softmax
from lmd.evaluation.selective.unlikeness import nearest, seen_classes, shared_covariance
from lmd.evaluation.selective.unlikeness import relative as relative_distance
from lmd.losses.covariance import Shrinkage, ledoit_wolf_coefficients, shrink
from lmd.losses.exact import ExpectedCrossEntropy, minimise, quasi_normal
from lmd.losses.gaussian import ClassGaussians, class_statistics
from lmd.parallel import one_thread
from lmd.stages.calibration.m_step import DRAWS, EVALUATIONS


class VirtualFeatureClassifier(ClassifierMixin, BaseEstimator):
    """A linear classifier, trained on Gaussians of the classes, that decides with a shift to rare classes.

    1. Mean and covariance of each class are estimated (see eq. 6-7 of arXiv 2502.03238).
    2. (W, b) minimise the mean over classes of the expected cross entropy of features drawn from these
       Gaussians, plus (l2 / 2) ||W||^2: see eq. 8, for R -> infinity (`lmd.losses.exact`). So every class
       has the same weight, and one of ten images has as many virtual features as one of thousands.
    3. On new images the means of rare classes lie nearer to the middle than they do in training. Decisions
       are therefore shifted: softmax(W z + b - tau log pi), pi the classes' shares of the training images.

    Decide with `predict` and `predict_proba`, which are shifted. Rank, as for an AUC, with `ranking_proba`.
    One number, the mean standard deviation within the classes, is the unit of all features. So the result
    does not change where every feature is multiplied by the same number.

    Args:
        tau: strength of the shift. 0.75 is right where the encoder was trained on these images, and too much
            where it has never seen them. Then take "validation": the tau that is best on held-out parts of
            the training data, by the smoothed criterion of `evaluation.probability.decisions`.
        covariance: how Sigma_k is regularised: "ridge", "oas", "ledoit_wolf", "pooled" or "diagonal".
        ridge: variance that is added to each channel, in that unit.
        l2: weight of ||W||^2 / 2, in that unit.
        tol: largest entry of the gradient at which the minimisation ends.
        random_state: seed of the points that the expectation is a mean over, and of the held-out parts.

    Attributes:
        classes_: the labels, sorted, in the order of all columns.
        coef_, intercept_: W [K, C] and b [K] before any shift.
        tau_, log_prior_, class_count_: tau, log pi [K] and the images of each class [K].
        means_, covariances_: the class Gaussians that the virtual features are from: [K, C], [K, C, C].
        scale_: the unit.
        loss_, n_iter_: the objective at its minimum, and how often it was evaluated.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    def __init__(
        self,
        tau: float | Literal["validation"] = 0.75,
        covariance: Shrinkage = "ridge",
        ridge: float = 0.1,
        l2: float = 0.4,
        tol: float = 1e-5,
        random_state: Any = 0,
    ) -> None:
        """Keeps the parameters; `fit` checks them."""
        self.tau = tau
        self.covariance = covariance
        self.ridge = ridge
        self.l2 = l2
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Estimates the class Gaussians of features [N, C] with labels [N] and trains the classifier on them.

        Raises:
            SettingsError: a parameter is out of range.
            ValueError: the features are not finite, or all images are of one class.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs at least two classes, found one class: {self.classes_[0]}")
        features, seed = X.astype(np.float64), int(check_random_state(self.random_state).randint(2**31))
        self.class_count_ = np.bincount(labels)
        self.log_prior_ = log_prior(self.class_count_)
        self._solve(features, labels, seed, None)
        self.tau_ = self._cross_fitted_tau(features, labels, seed) if self.tau == "validation" else self.tau
        return self

    def _check_parameters(self) -> None:
        for name in ("tau", "ridge", "l2", "tol"):
            value = getattr(self, name)
            if name == "tau" and isinstance(value, str) and value == "validation":
                continue
            if not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
                also = ' or "validation"' if name == "tau" else ""
                raise SettingsError(f"{name} = {value!r}: must be a finite number of at least 0{also}")
        if self.covariance not in get_args(Shrinkage):
            hint = suggest(str(self.covariance), get_args(Shrinkage))
            raise SettingsError(f"covariance = {self.covariance!r} is none of the kinds{hint}")

    def _solve(self, features: np.ndarray, labels: np.ndarray, seed: int, start: Self | None) -> None:
        """The class Gaussians and, from zero or another classifier, the minimum of the cross entropy."""
        rows, classes = torch.from_numpy(features), torch.from_numpy(labels)
        num_classes = len(self.classes_)
        self.gaussians_ = class_statistics(rows, classes, num_classes)
        wanted = self.covariance == "ledoit_wolf"
        self.shrinkage_ = ledoit_wolf_coefficients(rows, classes, num_classes) if wanted else None
        self.scale_ = common_scale(self.gaussians_)
        centre, unit = self.gaussians_.mean.mean(0), in_units(self._regularised(), self.scale_)
        weight, bias = torch.zeros_like(unit.mean), torch.zeros(num_classes, dtype=torch.float64)
        if start is not None:
            weight = torch.from_numpy(start.coef_ * self.scale_)
            bias = torch.from_numpy(start.intercept_) + torch.from_numpy(start.coef_) @ centre
        draws = quasi_normal(num_classes - 1, DRAWS, seed)
        with advising("raise ridge or l2"), one_thread():
            objective = ExpectedCrossEntropy(unit, draws, self.l2, torch.float64)
            found = minimise(objective, weight, bias, self.tol, EVALUATIONS)
        if found.gradient > self.tol and found.evaluations >= EVALUATIONS:
            text = "the minimisation ended at a gradient of {:.1e} after {} evaluations: raise l2 or tol"
            warnings.warn(text.format(found.gradient, found.evaluations), ConvergenceWarning, stacklevel=3)
        weight = found.weight / self.scale_
        self.coef_, self.intercept_ = weight.numpy(), (found.bias - weight @ centre).numpy()
        self.loss_, self.n_iter_ = found.value, found.evaluations

    def _cross_fitted_tau(self, features: np.ndarray, labels: np.ndarray, seed: int) -> float:
        """The tau that suits each image best when it is held out; a class of one image is never held out."""
        parts = held_out_parts(labels, seed)
        logits = np.empty((len(labels), len(self.classes_)))
        for part in np.unique(parts[parts >= 0]):
            held = parts == part
            twin = clone(self)
            twin.classes_ = self.classes_
            twin._solve(features[~held], labels[~held], seed, self)
            logits[held] = twin._scores(features[held])
        used = parts >= 0
        return choose_tau(logits[used], labels[used], self.log_prior_) if used.any() else 0.0

    def _regularised(self) -> ClassGaussians:
        return shrink(self.gaussians_, self.covariance, self.ridge * self.scale_**2, self.shrinkage_)

    @property
    def means_(self) -> np.ndarray:
        """The mean of each class [K, C]."""
        return self.gaussians_.mean.numpy()

    @property
    def covariances_(self) -> np.ndarray:
        """The regularised covariance of each class [K, C, C]: K C^2 numbers, made when they are asked for."""
        return self._regularised().covariance.numpy()

    def _scores(self, features: np.ndarray) -> np.ndarray:
        return features @ self.coef_.T + self.intercept_

    def _logits(self, X: Any) -> np.ndarray:
        """W z + b [N, K], before the shift."""
        check_is_fitted(self)
        return self._scores(self._features(X))

    def _features(self, X: Any) -> np.ndarray:
        return validate_data(self, X, dtype=(np.float64, np.float32), reset=False).astype(np.float64)

    def _shifted(self, X: Any) -> np.ndarray:
        return self._logits(X) - self.tau_ * self.log_prior_

    def decision_function(self, X: Any) -> np.ndarray:
        """Returns the shifted logits [N, K]; of two classes the difference second - first [N]."""
        logits = self._shifted(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict(self, X: Any) -> np.ndarray:
        """Returns the class with the largest shifted probability [N]."""
        best = self._shifted(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns the probabilities to decide by [N, K]: softmax(W z + b - tau log pi)."""
        return softmax(self._shifted(X))

    def ranking_proba(self, X: Any) -> np.ndarray:
        """Returns the probabilities to rank by [N, K]: softmax(W z + b), without the shift."""
        return softmax(self._logits(X))

    def out_of_class_score(self, X: Any, *, relative: bool = False) -> np.ndarray:
        """Returns how unlike all classes each image is [N]; larger is stranger.

        It is the squared Mahalanobis distance to the nearest class; with `relative`, that to one Gaussian of
        all classes is taken from it.
        """
        check_is_fitted(self)
        rows = torch.from_numpy(self._features(X))
        if relative:
            return relative_distance(rows, self.gaussians_).numpy()
        return nearest(rows, seen_classes(self.gaussians_), shared_covariance(self.gaussians_)).numpy()

    def save(self, path: Path | str) -> None:
        """Writes the fitted estimator into a safetensors file; `load` reads it, and runs no code from it.

        Raises:
            CheckpointError: the file cannot be written.
        """
        check_is_fitted(self)
        write_fitted(Path(path), self, self.get_params())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Returns the fitted estimator that `save` wrote.

        Raises:
            CheckpointError: the file is missing, damaged, or holds something else.
        """
        parameters, fitted = read_fitted(Path(path))
        found = cls(**parameters)
        vars(found).update(fitted)
        return found
