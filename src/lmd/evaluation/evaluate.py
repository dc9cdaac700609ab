"""Predictions become an evaluation: every metric with its interval and n."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lmd.evaluation.cases import AllMetrics, Cases, cases_of, measure_all
from lmd.evaluation.metrics import confusion
from lmd.evaluation.results import BandResult, ClassResult, Estimate, Evaluation, Resampling
from lmd.evaluation.uncertainty import DRAWS, LEVEL, SEED, defined


def evaluate(
    predictions: pd.DataFrame,
    classes: list[str],
    bands: dict[str, list[str]],
    split: str,
    draws: int = DRAWS,
) -> Evaluation:
    """Measures predictions (`id,label,group,predicted,p_<class>...`).

    Each metric has the value on all cases and its 95% bootstrap interval, stratified by class. Images of one
    group (patient, lesion) are drawn together. What is undefined is None, with an entry in `reasons`.

    The intervals are those of every other place that measures the same predictions (`uncertainty`).

    Raises:
        DataError: an image has no label, or one that is not a class.
    """
    cases = cases_of(predictions, classes)
    found = measure_all(cases, draws)
    counts = np.bincount(cases.labels, minlength=len(classes))
    metrics = _metrics(counts, found)
    by_band = {name: _band(members, classes, counts, found) for name, members in bands.items()}
    return Evaluation(
        split=split,
        n=len(cases.labels),
        metrics=metrics,
        bands=by_band,
        classes=[_class(k, classes, bands, counts, found) for k in range(len(classes))],
        confusion=_confusion(cases),
        interval=_resampling(cases.clusters, draws),
        reasons=_reasons(split, dict(zip(classes, counts, strict=True)), metrics, by_band),
    )


def _confusion(cases: Cases) -> list[list[int]]:
    once = np.ones((1, len(cases.labels)))
    num_classes = cases.probabilities.shape[1]
    matrix = confusion(cases.labels, cases.probabilities.argmax(1), num_classes, once)
    return matrix[0].astype(int).tolist()


def _metrics(counts: np.ndarray, found: AllMetrics) -> dict[str, Estimate]:
    """The macro metrics; kappa says nothing of a single class, where chance agrees as often as the model."""
    metrics = {name: measured.estimate() for name, measured in found.macro.items()}
    alone = ("kappa", "kappa_unweighted") if (counts > 0).sum() == 1 else ()
    return {**metrics, **dict.fromkeys(alone, Estimate(value=None, low=None, high=None))}


def _band(members: list[str], classes: list[str], counts: np.ndarray, found: AllMetrics) -> BandResult:
    """A frequency band's metrics: means over its classes."""
    places = [classes.index(name) for name in members]
    return BandResult(
        n=int(counts[places].sum()),
        classes=members,
        recall=found.over("recall", places).estimate(),
        precision=found.over("precision", places).estimate(),
        f1=found.over("f1", places).estimate(),
        auc=found.over("auc", places).estimate(),
    )


def _class(
    k: int, classes: list[str], bands: dict[str, list[str]], counts: np.ndarray, found: AllMetrics
) -> ClassResult:
    name = classes[k]
    return ClassResult(
        name=name,
        n=int(counts[k]),
        band=next((band for band, members in bands.items() if name in members), None),
        recall=found.over("recall", [k]).estimate(),
        precision=defined(found.of_class["precision"][0, k]),
        f1=defined(found.of_class["f1"][0, k]),
        auc=defined(found.of_class["auc"][0, k]),
    )


def _resampling(clusters: np.ndarray, draws: int) -> Resampling:
    number = len(set(clusters))
    return Resampling(
        method="percentile bootstrap, stratified by class",
        level=LEVEL,
        draws=draws,
        seed=SEED,
        clustered=number < len(clusters),
        clusters=number,
    )


def _reasons(
    split: str, counts: Mapping[str, int], metrics: Mapping[str, Estimate], bands: Mapping[str, BandResult]
) -> dict[str, str]:
    """Why something is undefined or left out."""
    absent = f"no image of this class in split '{split}'; macro metrics leave it out"
    reasons = {name: absent for name, count in counts.items() if count == 0}
    for name, entry in metrics.items():
        if entry.value is None:
            reasons[name] = "undefined: the split has images of one class only"
    if sum(count > 0 for count in counts.values()) == 1:
        reasons["precision"] = "the split has images of one class only, so that no other can be taken for it"
    for name, band in bands.items():
        if band.n == 0:
            reasons[name] = "no class of this band has an image in the split"
    return reasons
