"""Is an image of a class that nobody has seen more unlike? Leaving one class out, on saved features.

    python -m benchmarks.unlikeness DATA FEATURES.npz...    # benchmarks/results/unlikeness

DATA and FEATURES are those of `benchmarks.saved`. The class Gaussians are made of the training images of all
other classes. The area under the ROC curve is that of the class's own validation and test images against test
images of each other class; the mean over these classes counts.

The encoders of these features were trained with the class that is left out. On an encoder that never saw it
the areas may be smaller: this tells the scores apart, and is no promise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.saved import Saved, all_saved, parser
from lmd.data.dataset.manifest import Dataset
from lmd.evaluation.metrics import class_auc
from lmd.evaluation.selective.unlikeness import (
    directions,
    length,
    nearest,
    relative,
    seen_classes,
    shared_covariance,
    unlikeness_from,
)
from lmd.losses.gaussian import class_statistics

RIDGES = (0.5, 5.0)
EACH, MIXED = "each class against it alike", "test images as they are mixed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table and writes it."""
    options = parser(__doc__ or "", "unlikeness").parse_args(arguments)
    some = all_saved(options)
    parts = [one_encoder(saved) for saved in some]
    found = pd.concat(parts, ignore_index=True)
    (options.out / "unlikeness.json").write_text(json.dumps(found.to_dict("records"), indent=1) + "\n")
    text = report(found, some[0].dataset)
    (options.out / "unlikeness.md").write_text(text)
    print(text)
    return 0


def one_encoder(saved: Saved) -> pd.DataFrame:
    """Returns the areas of every score and every class that is left out, of one encoder."""
    features, logits = torch.from_numpy(saved.features), torch.from_numpy(saved.logits)
    labels = saved.labels
    rows: list[dict[str, str | float]] = []
    for left, name in enumerate(saved.dataset.classes):
        train = saved.rows("train") & (labels != left)
        asked = np.where(labels == left, ~saved.rows("train"), saved.rows("test"))
        val = saved.rows("val") & (labels != left)
        scores = all_scores(features, logits, labels, train, val, asked, left)
        for score, values in scores.items():
            areas = {EACH: each_class(values, labels[asked], left), MIXED: mixed(values, labels[asked], left)}
            rows += [
                {"encoder": saved.name, "left out": name, "score": score, "against": against, "auc": area}
                for against, area in areas.items()
            ]
    print(f"{saved.name} is done", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def all_scores(
    features: Tensor,
    logits: Tensor,
    labels: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    asked: np.ndarray,
    left: int,
) -> dict[str, np.ndarray]:
    """Returns how unlike each image that is asked for is, by every score."""
    found: dict[str, Tensor] = {}
    for what, rows in (("features", features), ("directions", directions(features))):
        known = class_statistics(rows[train], torch.from_numpy(labels[train]), logits.shape[1])
        new, means = rows[asked], seen_classes(known)
        for ridge in RIDGES:
            found[f"Mahalanobis, {what}, {ridge:g}"] = nearest(new, means, shared_covariance(known, ridge))
            found[f"relative, {what}, {ridge:g}"] = relative(new, known, ridge)
        if what == "directions":
            found["directions and length (ours)"] = unlikeness_from(known, features[val]).score(
                features[asked]
            )
    found["length"] = -length(features[asked])
    others = torch.cat([logits[asked, :left], logits[asked, left + 1 :]], 1)
    found["largest probability"] = -others.softmax(1).max(1).values
    found["energy"] = -others.logsumexp(1)
    return {name: values.double().numpy() for name, values in found.items()}


def mixed(scores: np.ndarray, labels: np.ndarray, left: int) -> float:
    """Returns the area of a class against all others together."""
    truth = (labels == left).astype(np.int64)
    columns = np.stack([-scores, scores], axis=1)
    return float(class_auc(truth, columns, np.ones((1, len(truth))))[0, 1])


def each_class(scores: np.ndarray, labels: np.ndarray, left: int) -> float:
    """Returns the mean of the areas of a class against each other class."""
    areas = []
    for other in np.setdiff1d(labels, left):
        here = (labels == other) | (labels == left)
        areas.append(mixed(scores[here], labels[here], left))
    return float(np.mean(areas))


def report(found: pd.DataFrame, dataset: Dataset) -> str:
    """Returns the tables: a row for each score, a column for each class, means over the encoders."""
    order = list(dict.fromkeys(found["score"]))
    lines = [f"Area under the ROC curve, mean of {found['encoder'].nunique()} encoders.", ""]
    for against in (EACH, MIXED):
        some = found[found["against"] == against]
        means = some.pivot_table(index="score", columns="left out", values="auc").loc[order, dataset.classes]
        lines += [f"| {against} | {' | '.join(dataset.classes)} | mean |"]
        lines += ["|" + "---|" * (len(dataset.classes) + 2)]
        for score, row in means.iterrows():
            lines.append(f"| {score} | {' | '.join(f'{area:.2f}' for area in row)} | {row.mean():.3f} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
