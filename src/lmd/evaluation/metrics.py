"""Metrics of a classifier on nominal classes, of all images or of a weighted sample of them.

They are functions of confusion matrices, of scores and of weights; the tests compare each with scikit-learn.
Macro means run over the classes that have images in the split.
"""

from __future__ import annotations

import numpy as np

# "recall" is "bacc" under the name of earlier versions and of the paper's tables.
MACRO = ("bacc", "auc", "f1", "mcc", "kappa_quadratic", "kappa_unweighted", "precision", "recall")


def confusion(labels: np.ndarray, predicted: np.ndarray, num_classes: int, weights: np.ndarray) -> np.ndarray:
    """The weighted confusion matrices [D, K, K] of D weightings [D, N]; rows are the true classes.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2, np.ones((1, 3)))[0].tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    cells, size = labels * num_classes + predicted, num_classes * num_classes
    counted = [np.bincount(cells, weights=each, minlength=size) for each in weights]
    return np.stack(counted).reshape(-1, num_classes, num_classes)


def class_metrics(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Recall, precision and F1 of each class [..., K]; nan where the class has no image.

        recall = TP / (TP + FN),   precision = TP / (TP + FP),   F1 = 2 TP / (2 TP + FP + FN)

    Recall is also called sensitivity, precision the positive predictive value (PPV). The precision of a class
    that is never predicted is 0, as scikit-learn counts it.
    """
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, guessed = matrix.sum(-1), matrix.sum(-2)
    here = true > 0
    recall = np.where(here, hits / np.where(here, true, 1), np.nan)
    precision = np.where(here, hits / np.where(guessed > 0, guessed, 1), np.nan)
    f1 = np.where(here, 2 * hits / np.where(here, true + guessed, 1), np.nan)
    return {"recall": recall, "precision": precision, "f1": f1}


def against_the_rest(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Specificity, PPV and NPV of each class [..., K] against all others; nan where they are undefined.

        specificity = TN / (TN + FP),   PPV = TP / (TP + FP),   NPV = TN / (TN + FN)

    Unlike the precision above, the PPV of a class that is never predicted is undefined. All three are nan of
    a class without images.
    """
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, guessed = matrix.sum(-1), matrix.sum(-2)
    total = matrix.sum((-2, -1))[..., None]
    others = total - true - guessed + hits  # TN
    here = true > 0
    parts = {
        "specificity": (others, total - true),
        "ppv": (hits, guessed),
        "npv": (others, total - guessed),
    }
    return {
        name: np.where(here & (of > 0), part / np.where(of > 0, of, 1), np.nan)
        for name, (part, of) in parts.items()
    }


def kappa(matrix: np.ndarray, quadratic: bool) -> np.ndarray:
    """Cohen's kappa, 1 - sum(W O) / sum(W E), with W = 1 off the diagonal or W = (i - j)^2.

    Quadratic weights are what the paper reports; on nominal classes they depend on the classes' order.
    It is nan where one class alone is both true and predicted.
    """
    index = np.arange(matrix.shape[-1])
    distance = np.abs(index[:, None] - index[None, :])
    penalty = distance**2 if quadratic else (distance > 0).astype(float)
    total = matrix.sum((-2, -1))
    expected = matrix.sum(-1)[..., :, None] * matrix.sum(-2)[..., None, :] / total[..., None, None]
    chance = (penalty * expected).sum((-2, -1))
    observed = (penalty * matrix).sum((-2, -1))
    return np.where(chance > 0, 1 - observed / np.where(chance > 0, chance, 1), np.nan)


def mcc(matrix: np.ndarray) -> np.ndarray:
    """Matthews' correlation of several classes (Gorodkin 2004), the same in any order of the classes.

        MCC = (c s - sum t_k p_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2))

    s images, c of them right, t_k of class k, p_k taken for k. It is 0, as scikit-learn counts it, where all
    are taken for one class, and nan where all are of one class.
    """
    true, guessed, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-2, -1))
    right = np.trace(matrix, axis1=-2, axis2=-1)
    covariance = right * total - (true * guessed).sum(-1)
    of_guess, of_truth = total**2 - (guessed**2).sum(-1), total**2 - (true**2).sum(-1)
    product = of_guess * of_truth
    found = np.where(product > 0, covariance / np.sqrt(np.where(product > 0, product, 1)), 0.0)
    return np.where(of_truth > 0, found, np.nan)


def class_auc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of each class against the rest, [D, K]; ties count one half.

        AUC_k = P(p_k(x) > p_k(x') | y = k, y' != k) + 1/2 P(equal)

    nan where the class, or everything else, has no image.
    """
    columns = [_auc(labels == k, probabilities[:, k], weights) for k in range(probabilities.shape[1])]
    return np.stack(columns, axis=1)


def _auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    ordered = weights[:, order]
    good = np.add.reduceat(ordered * positive[order], starts, axis=1)
    bad = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    below = np.cumsum(bad, axis=1) - bad
    pairs = good.sum(1) * bad.sum(1)
    wins = (good * (below + 0.5 * bad)).sum(1)
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), np.nan)


def all_metrics(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the macro metrics [D] and the class metrics [D, K] of each weighting."""
    matrix = confusion(labels, probabilities.argmax(1), probabilities.shape[1], weights)
    classes = class_metrics(matrix) | {"auc": class_auc(labels, probabilities, weights)}
    macro = {name: mean_over_classes(classes[name]) for name in ("recall", "precision", "f1", "auc")}
    macro["bacc"], macro["mcc"] = macro["recall"], mcc(matrix)
    macro["kappa_quadratic"] = kappa(matrix, quadratic=True)
    macro["kappa_unweighted"] = kappa(matrix, quadratic=False)
    return {name: macro[name] for name in MACRO}, classes | against_the_rest(matrix)


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is defined; nan where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(-1)
    return np.where(count > 0, np.where(defined, values, 0).sum(-1) / np.maximum(count, 1), np.nan)


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean recall of the classes present.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([[0.9, 0.1]] * 4))
    0.5
    """
    return float(all_metrics(labels, probabilities, np.ones((1, len(labels))))[0]["bacc"][0])


def macro_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean one-versus-rest area under the ROC curve of the classes present."""
    return float(mean_over_classes(class_auc(labels, probabilities, np.ones((1, len(labels)))))[0])
