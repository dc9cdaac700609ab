"""Classifiers on the features of frozen encoders: each with the same trials, and each with the same shifts.

    python -m benchmarks.features DATA FEATURES.npz... --work WORK    # benchmarks/results/features

DATA and FEATURES are those of `benchmarks.saved`. Every classifier gets three trials of its
regularisation. For each rule of tau, the trial is kept whose validation images have the best smoothed
criterion (`lmd.evaluation.probability.decisions`). The test images are used once. What is fitted is kept in
WORK, so that a second call goes on. The over-samplers need imbalanced-learn, and are left out without it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from benchmarks.saved import Saved, all_saved, parser
from lmd.estimator import VirtualFeatureClassifier
from lmd.evaluation.cases import Cases, measure_all
from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.intervals.uncertainty import Measured, mean_of
from lmd.evaluation.probability.decisions import choose_tau, log_prior, margin_score, softmax, width_of
from lmd.runtime import environment

TAUS: tuple[float | str, ...] = (0.0, 0.75, "validation")
OURS = "VirtualFeatureClassifier"


def _logistic(C: float, **options: Any) -> Any:
    return LogisticRegression(C=C, tol=1e-3, max_iter=300, **options)


def _sampled(sampler: str, C: float) -> Any:
    from imblearn import over_sampling
    from imblearn.pipeline import make_pipeline

    return make_pipeline(getattr(over_sampling, sampler)(random_state=0), _logistic(C))


STRENGTHS = (1e-4, 1e-3, 1e-2)
# Each classifier: how one is made of a trial, and its three trials.
CLASSIFIERS: dict[str, tuple[Callable[[float], Any], tuple[float, ...]]] = {
    OURS: (lambda l2: VirtualFeatureClassifier(0.0, l2=l2), (0.2, 0.4, 0.8)),
    "LogisticRegression": (_logistic, STRENGTHS),
    "LogisticRegression, balanced": (lambda C: _logistic(C, class_weight="balanced"), STRENGTHS),
    "LinearDiscriminantAnalysis": (
        lambda share: LinearDiscriminantAnalysis("lsqr", shrinkage=share),
        (0.1, 0.3, 0.6),
    ),
    "RandomOverSampler + LogisticRegression": (lambda C: _sampled("RandomOverSampler", C), STRENGTHS),
    "SMOTE + LogisticRegression": (lambda C: _sampled("SMOTE", C), STRENGTHS),
}


def prior_of(problem: Saved) -> np.ndarray:
    """Log pi of the training images [K]."""
    return log_prior(np.bincount(problem.of("train")[1]))


@dataclass(frozen=True)
class Trial:
    """One fitted classifier: its logits on validation and test images, and the seconds that it took."""

    setting: float
    val: np.ndarray
    test: np.ndarray
    seconds: float


def problems(options: argparse.Namespace) -> list[Saved]:
    """Returns the features of each encoder; as in a standard preparation, their mean spread is 1."""
    return [replace(one, features=one.features / one.features.std(0).mean()) for one in all_saved(options)]


def trials(problem: Saved, classifier: str, work: Path) -> list[Trial]:
    """Fits the trials of a classifier, or reads them where they are kept."""
    make, settings = CLASSIFIERS[classifier]
    found = []
    for setting in settings:
        kept = work / f"{problem.name}-{classifier.replace(' ', '')}-{setting:g}.npz"
        if not kept.is_file():
            _fit(make(setting), problem, kept)
        file = np.load(kept)
        found.append(Trial(setting, file["val"], file["test"], float(file["seconds"])))
    return found


def _fit(model: Any, problem: Saved, kept: Path) -> None:
    begun = time.perf_counter()
    model.fit(*problem.of("train"))
    seconds = time.perf_counter() - begun
    val, test = (model.decision_function(problem.of(split)[0]) for split in ("val", "test"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, val=val, test=test, seconds=seconds)


def chosen(problem: Saved, found: list[Trial], rule: float | str) -> tuple[Trial, float]:
    """Returns the trial, and its tau, that validation prefers."""
    labels = problem.of("val")[1]

    def judged(trial: Trial) -> tuple[float, float]:
        tau = choose_tau(trial.val, labels, prior_of(problem)) if isinstance(rule, str) else rule
        shifted = trial.val - tau * prior_of(problem)
        return margin_score(shifted, labels, width_of(trial.val)), tau

    scores = [judged(trial) for trial in found]
    best = int(np.argmax([score for score, _ in scores]))
    return found[best], scores[best][1]


def measured(problem: Saved, trial: Trial, tau: float) -> dict[str, Measured]:
    """Returns balanced accuracy of the decisions and AUC of the ranking on the test images."""
    rows = problem.rows("test")
    labels, groups = problem.labels[rows], problem.groups[rows]
    decided = (trial.test - tau * prior_of(problem)).argmax(1)
    cases = Cases(np.arange(len(labels)), labels, groups, softmax(trial.test), decided)
    found = measure_all(cases)
    return {name: found.whole(name) for name in ("bacc", "auc")}


def rows_of(all_problems: list[Saved], work: Path, classifiers: list[str]) -> list[dict[str, Any]]:
    """Returns a row for each classifier and rule of tau: the mean over the encoders, with its interval."""
    found: dict[tuple[str, Any], dict[str, Measured]] = {}
    rows: list[dict[str, Any]] = []
    for classifier in classifiers:
        tried = [trials(problem, classifier, work) for problem in all_problems]
        for rule in TAUS:
            picked = [chosen(one, some, rule) for one, some in zip(all_problems, tried, strict=True)]
            parts = [measured(one, *pick) for one, pick in zip(all_problems, picked, strict=True)]
            whole = {name: mean_of([part[name] for part in parts]) for name in ("bacc", "auc")}
            found[classifier, rule] = whole
            apart = paired_difference(found[OURS, rule]["bacc"], whole["bacc"])
            bacc = whole["bacc"].estimate()
            rows.append({
                "classifier": classifier, "tau": rule, "bacc": bacc.model_dump(), "auc": whole["auc"].value,
                "ours_less_this": apart.model_dump(), "of_encoder": [part["bacc"].value for part in parts],
                "trials": [trial.setting for trial, _ in picked], "taus": [tau for _, tau in picked],
                "seconds": float(np.median([trial.seconds for some in tried for trial in some])),
            })  # fmt: skip
            print(f"{classifier:40} tau {rule!s:10} {bacc} AUC {whole['auc'].value:.3f}", flush=True)
    return rows


def default_rows(all_problems: list[Saved]) -> list[dict[str, Any]]:
    """Returns what the estimator gives as it comes, nothing chosen: a row for each encoder."""
    rows = []
    for problem in all_problems:
        begun, cpu = time.perf_counter(), time.process_time()
        model = VirtualFeatureClassifier().fit(*problem.of("train"))
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        X, y = problem.of("test")
        plain = model.ranking_proba(X).argmax(1)
        recalls = [[np.mean(some[y == k] == k) for k in np.unique(y)] for some in (plain, model.predict(X))]
        unshifted, shifted = (float(np.mean(part)) for part in recalls)
        rows.append({"encoder": problem.name, "bacc": shifted, "bacc_tau_0": unshifted, "seconds": seconds,
                     "processor_seconds": cpu, "evaluations": model.n_iter_})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Fits what is missing, chooses, measures and writes the table."""
    options = parser(__doc__ or "", "features")
    options.add_argument("--work", type=Path, required=True, help="where fitted trials are kept")
    options.add_argument("--only", action="append", choices=list(CLASSIFIERS), help="these classifiers")
    asked = options.parse_args()
    wanted = asked.only or list(CLASSIFIERS)
    if find_spec("imblearn") is None:
        wanted = [name for name in wanted if "Sampler" not in name and "SMOTE" not in name]
    found = problems(asked)
    tree = {
        "encoders": [problem.name for problem in found],
        "as_it_comes": default_rows(found),
        "rows": rows_of(found, asked.work, [OURS, *(name for name in wanted if name != OURS)]),
        "environment": {**environment(), "cores": os.cpu_count()},
    }
    (asked.out / "features.json").write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
