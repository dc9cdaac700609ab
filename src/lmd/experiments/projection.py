"""Features of the test images, their t-SNE and their silhouette, for the figures that are pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmd.data.decode.cache import open_cache, read_as
from lmd.data.feed.loader import image_set
from lmd.evaluation.intervals.uncertainty import without_interval
from lmd.evaluation.plane import tsne
from lmd.evaluation.predict import load_model
from lmd.experiments.base import Experiment
from lmd.experiments.given import shown_classes
from lmd.experiments.measure import Measured, Samples, Trial
from lmd.experiments.runs import Run
from lmd.models.inference import encode
from lmd.settings import Tree


def project(experiment: Experiment, runs: Sequence[Run], samples: dict[str, Samples]) -> Tree:
    """Returns the points of each row's first seed, and adds the silhouette of every run to the samples."""
    dataset = runs[0].dataset
    names = shown_classes(experiment, dataset)
    table = dataset.split("test")
    shown = np.flatnonzero(table["label"].isin(names).to_numpy())
    labels = table["label"].to_numpy()[shown]
    panels: Tree = {}
    for run in runs:
        features = test_features(run)[shown]
        samples[run.row.key][Trial(run.seed)]["silhouette"] = silhouette(features, labels)
        if run.row.key not in panels:
            places = tsne(features, run.seed).round(3).tolist()
            panels[run.row.key] = {"title": run.row.title, "seed": run.seed, "places": places}
    return {"classes": names, "labels": labels.tolist(), "groups": dataset.info.bands, "panels": panels}


def test_features(run: Run) -> np.ndarray:
    """Returns the features [N, C] of the test images, in the table's order, from a finished run."""
    model = load_model(run.folder)
    made = model.card.preprocessing
    images = image_set(run.dataset, "test", open_cache(read_as(run.dataset, made.bits), made.size, made.crop))
    found = encode(model.network, images, model.runtime)
    return found.features.cpu().numpy()


def silhouette(features: np.ndarray, labels: np.ndarray) -> Measured:
    """Returns the mean silhouette of features by class (Rousseeuw 1987).

        s_i = (b_i - a_i) / max(a_i, b_i)

    a_i is the mean distance to the image's own class, b_i that to the nearest other. It has no interval: each
    image moves the silhouettes of all others, and no method was measured.
    """
    from sklearn.metrics import silhouette_samples

    each = np.asarray(silhouette_samples(features, labels), dtype=np.float64)
    return without_interval(float(each.mean()), "no interval: none was measured for a silhouette")
