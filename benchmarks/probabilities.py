"""Probabilities on saved features: calibration, the prior that they imply, and estimated shares.

    python -m benchmarks.probabilities DATA FEATURES.npz... [--only calibration|implied|shares]

Every calibration is fitted on the validation images and measured on the test images. `calibration`: the
encoders' own classifiers. `implied`: the log loss at the shares of the test, where the outputs are taken to
imply equal shares, and with a bias for each class. `shares`: 400 test images are drawn at random shares, and
the shares are estimated from them. The tables of docs/probabilities.md are made of these files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.saved import Saved, all_saved, parser, write_parts
from lmd.estimator import VirtualFeatureClassifier
from lmd.evaluation.intervals.score import quantile
from lmd.evaluation.probability.calibration import fit
from lmd.evaluation.probability.decisions import softmax
from lmd.evaluation.probability.label_shift import estimate_shares, maximised
from lmd.evaluation.probability.metrics import class_errors, class_errors_by_chance, log_losses
from lmd.evaluation.probability.priors import shares_of, shifted

C, DRAWS, IMAGES = 3e-3, 40, 400
BALANCED = ("plusA",)  # Encoders whose own classifier had balanced softmax: its outputs imply equal shares.
FOR_SHARES = ("lmd-wo-rrl-43", "lmd-paper-43", "plusA-42")  # One encoder of each kind.


class Case(NamedTuple):
    """The probabilities of one classifier on validation and test images, with labels and groups."""

    encoder: str
    classifier: str
    uniform: bool  # Its outputs are taken to imply equal shares; else those of the training images.
    training: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray
    val_groups: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: list[str]

    @property
    def implied(self) -> np.ndarray:
        """The shares that the outputs are taken to imply [K]."""
        return np.full(len(self.training), 1 / len(self.training)) if self.uniform else self.training


def _shares(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=classes) / len(labels)


@cache
def _logits(saved: Saved, classifier: str) -> np.ndarray:
    """The logits of a classifier on all images [N, K]."""
    if classifier == "own":
        return saved.logits
    X, y = saved.of("train")
    if classifier == "ICC":
        return np.log(VirtualFeatureClassifier(0.0).fit(X, y).ranking_proba(saved.features))
    mean, deviation = X.mean(0), X.std(0) + 1e-6
    weights = "balanced" if classifier == "balanced logistic regression" else None
    model = LogisticRegression(C=C, max_iter=300, class_weight=weights).fit((X - mean) / deviation, y)
    return model.decision_function((saved.features - mean) / deviation)


def case_of(saved: Saved, classifier: str) -> Case:
    """Returns the probabilities of one classifier on one encoder's features."""
    own = classifier == "own" and saved.name.startswith(BALANCED)
    uniform = own or classifier in ("ICC", "balanced logistic regression")
    found = softmax(_logits(saved, classifier).astype(np.float64))
    val, test = saved.rows("val"), saved.rows("test")
    training = shares_of(np.bincount(saved.of("train")[1]))
    parts = (found[val], saved.labels[val], saved.groups[val], found[test], saved.labels[test])
    return Case(saved.name, classifier, uniform, training, *parts, saved.dataset.classes)


def calibration_rows(some: Sequence[Saved]) -> Iterator[dict[str, Any]]:
    """Yields log loss and class-wise ECE of the encoders' own classifiers, before and after calibrations.

    What implies equal shares is measured at the shares of the test; its vector scaling needs no shift.
    """
    for saved in some:
        case = case_of(saved, "own")
        here, there = (_shares(one, len(case.classes)) for one in (case.val_labels, case.test_labels))
        offset = np.log(here / case.implied) if case.uniform else 0.0
        temperature = fit("temperature", case.val_labels, case.val, offset)
        vector = fit("vector", case.val_labels, case.val)
        found = {"T = 1": case.test, "temperature": temperature(case.test), "vector": vector(case.test)}
        if case.uniform:
            moved = {name: shifted(found[name], case.implied, there) for name in ("T = 1", "temperature")}
            found |= moved
        plain = fit("temperature", case.val_labels, case.val).temperature
        yield {
            "encoder": saved.name, "at the shares of the test": case.uniform,
            "temperature": temperature.temperature, "temperature without shares": plain,
            "log loss": {name: float(log_losses(case.test_labels, p).mean()) for name, p in found.items()},
            "class-wise ECE": {n: float(class_errors(case.test_labels, p).mean()) for n, p in found.items()},
            "by chance": {name: float(class_errors_by_chance(p).mean()) for name, p in found.items()},
        }  # fmt: skip


def implied_rows(some: Sequence[Saved]) -> Iterator[dict[str, Any]]:
    """Yields the test log loss with the prior that is declared, and with a bias fitted on validation."""
    for classifier in ("ICC", "balanced logistic regression", "own"):
        for saved in some:
            if classifier == "balanced logistic regression" and saved.name not in FOR_SHARES:
                continue
            case = case_of(saved, classifier)
            here, there = (_shares(one, len(case.classes)) for one in (case.val_labels, case.test_labels))
            offset = np.log(here / case.implied)
            declared = fit("temperature", case.val_labels, case.val, offset)(case.test)
            biased = fit("bias", case.val_labels, case.val)(case.test)
            found = {"as declared": shifted(declared, case.implied, there), "bias": biased}
            yield {
                "classifier": classifier, "encoder": saved.name,
                "declared": "uniform" if case.uniform else "training",
                **{name: float(log_losses(case.test_labels, p).mean()) for name, p in found.items()},
            }  # fmt: skip


def shares_rows(some: Sequence[Saved]) -> Iterator[dict[str, Any]]:
    """Yields the error of estimated shares, and how often their intervals hold the truth."""
    for saved in some:
        if saved.name not in FOR_SHARES:
            continue
        for classifier in ("own", "logistic regression", "balanced logistic regression"):
            yield _estimates(case_of(saved, classifier))


def _estimates(case: Case) -> dict[str, Any]:
    random = np.random.default_rng(0)
    val = _shares(case.val_labels, len(case.classes))
    made = {kind: fit(kind, case.val_labels, case.val) for kind in ("temperature", "bias", "vector")}
    implied = {"temperature": case.implied, "bias": val, "vector": val}
    errors: dict[str, list[float]] = {name: [] for name in ("validation's shares", *made)}
    held: dict[str, list[np.ndarray]] = {"ours": [], "images alone": []}
    for _ in range(DRAWS):
        truth = random.dirichlet(np.ones(len(case.classes)))
        rows = _drawn(random, case.test_labels, truth)
        some = case.test[rows]
        true = _shares(case.test_labels[rows], len(case.classes))
        errors["validation's shares"].append(_distance(val, true))
        for kind, calibration in made.items():
            estimate = maximised(calibration(some) / implied[kind], implied[kind])
            errors[kind].append(_distance(estimate, true))
        known = case.val_labels, case.val, case.classes, case.val_groups
        shares, _ = estimate_shares(some, rows, *known)
        ends = np.array([[one.low, one.high] for one in shares.estimates])
        held["ours"].append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
        deviations = _of_images_alone(made["vector"](some) / val, shares.values)
        held["images alone"].append(np.abs(shares.values - truth) <= quantile() * deviations)
    return {
        "encoder": case.encoder, "classifier": case.classifier, "draws": DRAWS,
        "error": {name: float(np.mean(found)) for name, found in errors.items()},
        "held": {name: float(np.mean(found)) for name, found in held.items()},
    }  # fmt: skip


def _drawn(random: np.random.Generator, labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Places of images drawn with replacement, classes by their shares."""
    counts = random.multinomial(IMAGES, shares)
    return np.concatenate([random.choice(np.flatnonzero(labels == k), n) for k, n in enumerate(counts)])


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).sum()) / 2


def _of_images_alone(ratios: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Standard deviations [K] by the information of the images, each copy counted by itself."""
    along = np.linalg.svd(np.ones((1, len(shares))))[2][1:].T
    scores = (ratios / (ratios @ shares)[:, None]) @ along
    return np.sqrt(np.diag(along @ np.linalg.pinv(scores.T @ scores) @ along.T))


PARTS: dict[str, Callable[[Sequence[Saved]], Iterator[dict[str, Any]]]] = {
    "calibration": calibration_rows,
    "implied": implied_rows,
    "shares": shares_rows,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the parts that were asked for, and writes a JSON file of each."""
    options = parser(__doc__ or "", "probabilities")
    options.add_argument("--only", choices=list(PARTS), action="append")
    asked = options.parse_args(arguments)
    some = all_saved(asked)
    write_parts(asked.out, {name: PARTS[name](some) for name in asked.only or PARTS})
    return 0


if __name__ == "__main__":
    sys.exit(main())
