"""Predictions become an evaluation: every metric with its interval and n."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmd.errors import DataError
from lmd.evaluation.metrics import MACRO, all_metrics, confusion, mean_over_classes
from lmd.evaluation.uncertainty import bootstrap_weights, interval
from lmd.files import atomic_write
from lmd.settings import Tree

DRAWS, LEVEL = 1000, 0.95
_PER_CLASS = ("recall", "precision", "f1", "auc")


def evaluate(
    predictions: pd.DataFrame,
    classes: list[str],
    groups: dict[str, list[str]],
    split: str,
    draws: int = DRAWS,
    seed: int = 0,
) -> Tree:
    """Measures predictions (`id,label,group,predicted,p_<class>...`).

    Each metric comes as {"value", "low", "high"}: the value on all cases and its 95% bootstrap interval,
    by group where groups repeat, stratified by class. What is undefined is None (null in JSON), with an
    entry in "reasons".

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
    result: Tree = {
        "split": split,
        "n": len(labels),
        "metrics": {name: _entry(macro[name][0], macro_draws[name]) for name in MACRO},
        "groups": {
            name: _group_entry([classes.index(k) for k in members], classes, counts, per_class, class_draws)
            for name, members in groups.items()
        },
        "classes": [
            _class_entry(k, classes, groups, counts, per_class, class_draws) for k in range(len(classes))
        ],
        "confusion": confusion(labels, probabilities.argmax(1), len(classes), once)[0].astype(int).tolist(),
        "interval": {
            "method": "percentile bootstrap, stratified by class",
            "level": LEVEL,
            "draws": draws,
            "seed": seed,
            "clustered": len(set(clusters)) < len(clusters),
            "clusters": len(set(clusters)),
        },
    }
    result["reasons"] = _reasons(result, classes, counts)
    return result


def _arrays(predictions: pd.DataFrame, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    number = {name: k for k, name in enumerate(classes)}
    unknown = predictions["label"][~predictions["label"].isin(classes)]
    if len(unknown):
        raise DataError(
            f"image '{predictions['id'][unknown.index[0]]}' has no known label: '{unknown.iloc[0]}'"
        )
    labels = predictions["label"].map(number).to_numpy(dtype=np.int64)
    return labels, predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=np.float64)


def _entry(value: float, samples: np.ndarray) -> Tree:
    low, high = interval(samples, LEVEL)
    return {"value": _json_number(value), "low": _json_number(low), "high": _json_number(high)}


def _group_entry(
    members: list[int], classes: list[str], counts: np.ndarray, values: Any, samples: Any
) -> Tree:
    """A group's metrics: means over its classes."""
    entry: Tree = {"n": int(counts[members].sum()), "classes": [classes[k] for k in members]}
    for name in _PER_CLASS:
        value = mean_over_classes(values[name][:, members])[0]
        entry[name] = _entry(value, mean_over_classes(samples[name][:, members]))
    return entry


def _class_entry(
    k: int, classes: list[str], groups: dict[str, list[str]], counts: np.ndarray, values: Any, samples: Any
) -> Tree:
    name = classes[k]
    group = next((group for group, members in groups.items() if name in members), None)
    low, high = interval(samples["recall"][:, k], LEVEL)
    return {
        "name": name,
        "n": int(counts[k]),
        "group": group,
        "recall": _json_number(values["recall"][0, k]),
        "recall_low": _json_number(low),
        "recall_high": _json_number(high),
        **{metric: _json_number(values[metric][0, k]) for metric in _PER_CLASS[1:]},
    }


def _json_number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _reasons(result: Tree, classes: list[str], counts: np.ndarray) -> Tree:
    """Why something is undefined or left out."""
    reasons: Tree = {}
    for name, count in zip(classes, counts, strict=True):
        if count == 0:
            reasons[name] = f"no image of this class in split '{result['split']}'; macro metrics leave it out"
    for name, entry in result["metrics"].items():
        if entry["value"] is None:
            reasons[name] = "undefined: the split has images of one class only"
    for name, entry in result["groups"].items():
        if entry["n"] == 0:
            reasons[name] = "no class of this group has an image in the split"
    return reasons


def write_evaluation(path: Path, evaluation: Tree) -> None:
    """Writes an evaluation as JSON."""
    atomic_write(path, json.dumps(evaluation, indent=2, allow_nan=False) + "\n")
