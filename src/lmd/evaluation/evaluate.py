"""Predictions become an evaluation: every metric with its interval and n."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lmd.evaluation.cases import cases_of, measure_all
from lmd.evaluation.intervals.measured import AllMetrics
from lmd.evaluation.intervals.score import LEVEL
from lmd.evaluation.intervals.uncertainty import Measured, defined
from lmd.evaluation.results import BandResult, ClassResult, Evaluation, Resampling

_OF_BAND = ("recall", "precision", "f1", "auc")
METHOD = "score intervals from the variance over images"


def evaluate(
    predictions: pd.DataFrame, classes: list[str], bands: dict[str, list[str]], split: str
) -> Evaluation:
    """Measures predictions (`id,label,group,predicted,p_<class>...`).

    Each metric has the value on all cases and its 95% interval. Images of one group (patient, lesion) count
    together. What is undefined, or has no interval, is None, with an entry in `reasons`.

    The intervals are those of every other place that measures the same predictions (`uncertainty`).

    Raises:
        DataError: an image has no label, or one that is not a class.
    """
    cases = cases_of(predictions, classes)
    found = measure_all(cases)
    macro, values = found.macro, found.of_class
    counts = np.bincount(cases.labels, minlength=len(classes))
    present = dict(zip(classes, counts.tolist(), strict=True))
    recalls = [found.over("recall", [k]) for k in range(len(classes))]
    return Evaluation(
        split=split,
        n=len(cases.labels),
        metrics={name: measured.estimate() for name, measured in macro.items()},
        bands={name: _band(members, classes, counts, found) for name, members in bands.items()},
        classes=[
            _class(k, name, bands, int(counts[k]), recalls[k], values) for k, name in enumerate(classes)
        ],
        confusion=found.confusion.astype(int).tolist(),
        interval=_resampling(cases.clusters),
        reasons={
            **_undefined(split, present, macro),
            **_without_interval(macro | dict(zip(classes, recalls, strict=True))),
            **_of_bands(bands, classes, counts, found),
        },
    )


def _band(members: list[str], classes: list[str], counts: np.ndarray, found: AllMetrics) -> BandResult:
    """A frequency band's metrics: means over its classes."""
    places = [classes.index(name) for name in members]
    means = {metric: found.over(metric, places).estimate() for metric in _OF_BAND}
    return BandResult(n=int(counts[places].sum()), classes=members, **means)


def _class(
    k: int,
    name: str,
    bands: Mapping[str, list[str]],
    count: int,
    recall: Measured,
    values: Mapping[str, np.ndarray],
) -> ClassResult:
    return ClassResult(
        name=name,
        n=count,
        band=next((band for band, members in bands.items() if name in members), None),
        recall=recall.estimate(),
        precision=defined(values["precision"][k]),
        f1=defined(values["f1"][k]),
        auc=defined(values["auc"][k]),
        specificity=defined(values["specificity"][k]),
        ppv=defined(values["ppv"][k]),
        npv=defined(values["npv"][k]),
    )


def _resampling(clusters: np.ndarray) -> Resampling:
    number = len(set(clusters))
    return Resampling(method=METHOD, level=LEVEL, clustered=number < len(clusters), clusters=number)


def _undefined(split: str, counts: Mapping[str, int], metrics: Mapping[str, Measured]) -> dict[str, str]:
    """Why a value is undefined or left out."""
    absent = f"no image of this class in split '{split}'; macro metrics leave it out"
    reasons = {name: absent for name, count in counts.items() if count == 0}
    for name, measured in metrics.items():
        if np.isnan(measured.value):
            reasons[name] = "undefined: the split has images of one class only"
    return reasons


def _without_interval(metrics: Mapping[str, Measured]) -> dict[str, str]:
    """Why a value has no interval."""
    return {name: measured.reason for name, measured in metrics.items() if measured.reason is not None}


def _of_bands(
    bands: Mapping[str, list[str]], classes: list[str], counts: np.ndarray, found: AllMetrics
) -> dict[str, str]:
    """Why a band has no value, or a metric of it no interval."""
    reasons: dict[str, str] = {}
    for name, members in bands.items():
        places = [classes.index(member) for member in members]
        if counts[places].sum() == 0:
            reasons[name] = "no class of this band has an image in the split"
            continue
        measured = {f"{name} {metric}": found.over(metric, places) for metric in _OF_BAND}
        reasons |= _without_interval(measured)
    return reasons
