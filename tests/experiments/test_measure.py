"""Means over seeds, and differences of rows, with their intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, silhouette_samples

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from lmd.experiments.measure import Cases, Samples, Trial, difference, measure, pooled, read_cases, summary
from lmd.experiments.projection import silhouette
from tests import toy

CLASSES = ["a", "b", "c"]
GROUPS = {"head": ["a"], "tail": ["b", "c"]}


def cases(seed: int) -> Cases:
    """Predictions of 30 images in 20 groups: the same images for every seed, answers of its own."""
    labels = np.arange(30) % 3
    clusters = np.array([f"g{(k % 3)}-{k // 3 % 7}" for k in range(30)])
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), 30)
    probabilities[np.arange(30), labels] += 0.02 * seed
    probabilities /= probabilities.sum(1, keepdims=True)
    return Cases(np.arange(30).astype(str), labels, clusters, probabilities)


def samples(parts: list[Cases]) -> Samples:
    return {Trial(seed): measure(part, CLASSES, GROUPS) for seed, part in enumerate(parts)}


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_difference_is_the_mean_over_the_seeds_of_both(seeds: int) -> None:
    first = [cases(10 + k) for k in range(seeds)]
    second = [cases(20 + k) for k in range(seeds)]
    entry = difference(samples(first), samples(second), "bacc")
    assert entry is not None
    scores = [
        [recall_score(one.labels, one.probabilities.argmax(1), average="macro") for one in row]
        for row in (first, second)
    ]
    assert entry["value"] == pytest.approx(100 * (np.mean(scores[0]) - np.mean(scores[1])), abs=1e-5)
    assert entry["low"] < entry["value"] < entry["high"]
    assert entry["seeds"] == seeds


def test_pairing_narrows_the_difference_of_like_answers() -> None:
    """A row against itself differs by nothing; other images could tell the two apart, but not by much."""
    mine = samples([cases(1), cases(2)])
    entry = difference(mine, mine, "bacc")
    assert entry is not None
    assert entry["value"] == 0
    assert entry["low"] == -entry["high"] < 0
    alone = summary(mine, "bacc")
    assert alone["low"] < alone["value"] < alone["high"]
    assert entry["high"] - entry["low"] < alone["high"] - alone["low"]


def test_seeds_that_only_one_row_has_are_left_out() -> None:
    mine = samples([cases(1), cases(2)])
    one, seven = Trial(1), Trial(7)
    other = {one: measure(cases(5), CLASSES, GROUPS), seven: measure(cases(6), CLASSES, GROUPS)}
    entry = difference(mine, other, "bacc")
    assert entry is not None
    assert entry["seeds"] == 1
    assert entry == difference({one: mine[one]}, {one: other[one]}, "bacc")
    assert difference({Trial(0): mine[Trial(0)]}, {seven: other[seven]}, "bacc") is None


def test_more_seeds_widen_the_interval_by_their_spread() -> None:
    """Two seeds that differ much, on the same images: the interval has to reach both."""
    sure = Cases(**{**vars(cases(1)), "probabilities": np.eye(3)[np.arange(30) % 3]})
    mixed = samples([sure, cases(2)])
    spread = summary(mixed, "bacc")
    values = [100 * seed["bacc"].value for seed in mixed.values()]
    assert spread["low"] < min(values) + 10
    assert spread["high"] > max(values) - 10
    assert spread["value"] == pytest.approx(np.mean(values))


def test_folds_are_pooled_as_one_test_whose_groups_stay_apart() -> None:
    """Three folds with the same names of groups: measured as the whole test with groups named by fold."""
    whole = cases(3)
    fold = np.arange(30) // 10
    parts = {
        f"fold-{k}": Cases(
            whole.ids[fold == k],
            whole.labels[fold == k],
            np.array(["g0"] * 10),
            whole.probabilities[fold == k],
        )
        for k in (2, 0, 1)
    }
    found = pooled(parts)
    assert found.ids.tolist() == sorted(whole.ids)
    own = np.argsort(whole.ids, kind="stable")
    assert (found.labels == whole.labels[own]).all()
    assert (found.probabilities == whole.probabilities[own]).all()
    assert [name.partition("/")[0] for name in found.clusters] == [f"fold-{k}" for k in fold[own]]
    alone = {"fold-1": parts["fold-1"]}
    assert pooled(alone) is parts["fold-1"]


def test_repeated_folds_are_trials_of_one_seed() -> None:
    mine = {Trial(1, name): measure(cases(k), CLASSES, GROUPS) for k, name in enumerate("ab")}
    assert summary(mine, "bacc")["seeds"] == 1
    more = {**mine, Trial(2, "a"): measure(cases(7), CLASSES, GROUPS)}
    assert summary(more, "bacc")["seeds"] == 2
    assert summary(mine, "bacc")["value"] == pytest.approx(
        100 * np.mean([found["bacc"].value for found in mine.values()]), abs=1e-5
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def predictions(dataset: Dataset) -> pd.DataFrame:
    table = dataset.split("test")[["id", "label", "group"]].copy()
    table["predicted"] = "common"
    for name in dataset.classes:
        table[f"p_{name}"] = (table["label"] == name).astype(float)
    return table.sample(frac=1, random_state=0)


def test_cases_come_in_one_order_whatever_the_file_has(dataset: Dataset, tmp_path: Path) -> None:
    predictions(dataset).to_csv(tmp_path / "p.csv", index=False)
    found = read_cases(tmp_path / "p.csv", dataset)
    assert found.ids.tolist() == sorted(found.ids)
    assert (found.probabilities.argmax(1) == found.labels).all()
    assert found.labels.tolist() == dataset.labels("test").tolist()


@pytest.mark.parametrize("what", ["image gone", "other classes", "no file"])
def test_a_changed_predictions_file_is_refused(what: str, dataset: Dataset, tmp_path: Path) -> None:
    table = predictions(dataset)
    if what == "image gone":
        table = table.iloc[1:]
    if what == "other classes":
        table = table.rename(columns={"p_rare": "p_other"})
    if what != "no file":
        table.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match=r"p\.csv does not hold"):
        read_cases(tmp_path / "p.csv", dataset)


def test_a_silhouette_has_no_interval() -> None:
    """Each image moves those of all others; no method was measured."""
    labels = np.arange(30) % 3
    features = np.random.default_rng(0).normal(size=(30, 4)) + labels[:, None]
    found = silhouette(features, labels)
    assert found.value == pytest.approx(silhouette_samples(features, labels).mean())
    assert found.estimate().low is None
    row = {Trial(k): {"silhouette": found} for k in range(2)}
    assert summary(row, "silhouette")["low"] is None
    entry = difference(row, row, "silhouette")
    assert entry is not None
    assert (entry["value"], entry["low"]) == (0, None)
