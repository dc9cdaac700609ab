"""Predictions become an evaluation: every metric with its interval and n."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmd.errors import DataError
from lmd.evaluation.metrics import MACRO, all_metrics, confusion, mean_over_classes
from lmd.evaluation.results import BandResult, ClassResult, Estimate, Evaluation, Resampling
from lmd.evaluation.uncertainty import bootstrap_weights, interval

DRAWS, LEVEL = 1000, 0.95


@dataclass(frozen=True)
class _Sampled:
    """Metrics on all cases [1] or [1, K], and in each bootstrap draw [D] or [D, K]."""

    values: Mapping[str, np.ndarray]
    draws: Mapping[str, np.ndarray]

    def of_classes(self, name: str, members: list[int]) -> Estimate:
        """The mean of a class metric over some classes."""
        value = mean_over_classes(self.values[name][:, members])[0]
        return _estimate(value, mean_over_classes(self.draws[name][:, members]))


def evaluate(
    predictions: pd.DataFrame,
    classes: list[str],
    bands: dict[str, list[str]],
    split: str,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Measures predictions (`id,label,group,predicted,p_<class>...`).

    Each metric has the value on all cases and its 95% bootstrap interval, stratified by class. Images of one
    group (patient, lesion) are drawn together. What is undefined is None, with an entry in `reasons`.

    Raises:
        DataError: an image has no label, or one that is not a class.
    """
    labels, probabilities = _arrays(predictions, classes)
    clusters = predictions["group"].to_numpy()
    weights = bootstrap_weights(labels, clusters, draws, seed)
    once = np.ones((1, len(labels)))
    macro, per_class = all_metrics(labels, probabilities, once)
    macro_draws, class_draws = all_metrics(labels, probabilities, weights)
    counts = np.bincount(labels, minlength=len(classes))
    metrics = {name: _estimate(macro[name][0], macro_draws[name]) for name in MACRO}
    sampled = _Sampled(per_class, class_draws)
    by_band = {name: _band(members, classes, counts, sampled) for name, members in bands.items()}
    return Evaluation(
        split=split,
        n=len(labels),
        metrics=metrics,
        bands=by_band,
        classes=[_class(k, classes, bands, counts, sampled) for k in range(len(classes))],
        confusion=confusion(labels, probabilities.argmax(1), len(classes), once)[0].astype(int).tolist(),
        interval=_resampling(clusters, draws, seed),
        reasons=_reasons(split, dict(zip(classes, counts, strict=True)), metrics, by_band),
    )


def _arrays(predictions: pd.DataFrame, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    number = {name: k for k, name in enumerate(classes)}
    unknown = predictions["label"][~predictions["label"].isin(classes)]
    if len(unknown):
        raise DataError(
            f"image '{predictions['id'][unknown.index[0]]}' has no known label: '{unknown.iloc[0]}'"
        )
    labels = predictions["label"].map(number).to_numpy(dtype=np.int64)
    return labels, predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=np.float64)


def _estimate(value: float, draws: np.ndarray) -> Estimate:
    low, high = interval(draws, LEVEL)
    return Estimate(value=_defined(value), low=_defined(low), high=_defined(high))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _band(members: list[str], classes: list[str], counts: np.ndarray, sampled: _Sampled) -> BandResult:
    """A frequency band's metrics: means over its classes."""
    places = [classes.index(name) for name in members]
    return BandResult(
        n=int(counts[places].sum()),
        classes=members,
        recall=sampled.of_classes("recall", places),
        precision=sampled.of_classes("precision", places),
        f1=sampled.of_classes("f1", places),
        auc=sampled.of_classes("auc", places),
    )


def _class(
    k: int, classes: list[str], bands: dict[str, list[str]], counts: np.ndarray, sampled: _Sampled
) -> ClassResult:
    name = classes[k]
    return ClassResult(
        name=name,
        n=int(counts[k]),
        band=next((band for band, members in bands.items() if name in members), None),
        recall=_estimate(sampled.values["recall"][0, k], sampled.draws["recall"][:, k]),
        precision=_defined(sampled.values["precision"][0, k]),
        f1=_defined(sampled.values["f1"][0, k]),
        auc=_defined(sampled.values["auc"][0, k]),
    )


def _resampling(clusters: np.ndarray, draws: int, seed: int) -> Resampling:
    number = len(set(clusters))
    return Resampling(
        method="percentile bootstrap, stratified by class",
        level=LEVEL,
        draws=draws,
        seed=seed,
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
    for name, band in bands.items():
        if band.n == 0:
            reasons[name] = "no class of this band has an image in the split"
    return reasons
