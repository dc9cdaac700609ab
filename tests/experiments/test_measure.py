"""The measure of several trainings: values by scikit-learn, intervals over cases and over trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score, silhouette_samples

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from lmd.evaluation.cases import compare
from lmd.experiments.measure import Cases, Samples, Trial, difference, measure, pooled, read_cases, summary
from lmd.experiments.projection import silhouette
from tests import toy

CLASSES = ["a", "b", "c"]
GROUPS = {"head": ["a"], "tail": ["b", "c"]}


def cases(seed: int) -> Cases:
    """Predictions of 60 images in 42 groups: the same images for every seed, answers of its own."""
    labels = np.arange(60) % 3
    clusters = np.array([f"g{(k % 3)}-{k // 3 % 14}" for k in range(60)])
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), 60)
    probabilities[np.arange(60), labels] += 0.02 * seed
    probabilities /= probabilities.sum(1, keepdims=True)
    return Cases(np.arange(60).astype(str), labels, clusters, probabilities)


def by_sklearn(one: Cases) -> dict[str, float]:
    recall = recall_score(one.labels, one.probabilities.argmax(1), average=None, labels=[0, 1, 2])
    auc = np.mean([roc_auc_score(one.labels == k, one.probabilities[:, k]) for k in range(3)])
    return {"bacc": recall.mean(), "auc": auc, "tail": recall[1:].mean()}


def samples(parts: list[Cases]) -> Samples:
    return {Trial(seed): measure(part, CLASSES, GROUPS) for seed, part in enumerate(parts)}


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("metric", ["bacc", "auc", "tail"])
def test_a_difference_is_the_mean_of_those_of_the_seeds(metric: str, seeds: int) -> None:
    first = [cases(10 + k) for k in range(seeds)]
    second = [cases(20 + k) for k in range(seeds)]
    entry = difference(samples(first), samples(second), metric)
    assert entry is not None
    gaps = [by_sklearn(a)[metric] - by_sklearn(b)[metric] for a, b in zip(first, second, strict=True)]
    assert entry["value"] == pytest.approx(100 * np.mean(gaps), abs=1e-5)
    assert entry["seeds"] == seeds


@pytest.mark.parametrize("metric", ["bacc", "tail"])
def test_of_one_seed_it_has_the_interval_that_a_comparison_shows(metric: str) -> None:
    entry = difference(samples([cases(10)]), samples([cases(20)]), metric)
    found = compare(cases(10), cases(20), CLASSES, GROUPS)[metric]
    assert entry is not None
    assert found.low is not None
    assert found.high is not None
    assert (entry["low"], entry["high"]) == pytest.approx((100 * found.low, 100 * found.high), abs=1e-5)


def test_pairing_narrows_the_difference_of_like_answers() -> None:
    """A row against itself differs by nothing, and by less than its own interval is wide."""
    mine = samples([cases(1), cases(2)])
    entry, alone = difference(mine, mine, "bacc"), summary(mine, "bacc")
    assert entry is not None
    assert entry["value"] == 0
    assert entry["high"] - entry["low"] < alone["high"] - alone["low"]
    assert alone["low"] < alone["value"] < alone["high"]


def test_seeds_that_only_one_row_has_are_left_out() -> None:
    mine = samples([cases(1), cases(2)])
    one, seven = Trial(1), Trial(7)
    other = {one: measure(cases(5), CLASSES, GROUPS), seven: measure(cases(6), CLASSES, GROUPS)}
    entry = difference(mine, other, "bacc")
    assert entry is not None
    assert entry["seeds"] == 1
    assert entry == difference({one: mine[one]}, {one: other[one]}, "bacc")
    assert difference({Trial(0): mine[Trial(0)]}, {seven: other[seven]}, "bacc") is None


def test_seeds_widen_the_interval_by_their_spread() -> None:
    """Equal answers of two seeds leave the interval of one; answers that differ much widen it."""
    sure = Cases(**{**vars(cases(1)), "probabilities": np.eye(3)[np.arange(60) % 3]})
    same, one = summary(samples([cases(2), cases(2)]), "bacc"), summary(samples([cases(2)]), "bacc")
    assert (same["low"], same["high"]) == (one["low"], one["high"])
    spread = summary(samples([sure, cases(2)]), "bacc")
    values = [100 * by_sklearn(part)["bacc"] for part in (sure, cases(2))]
    assert spread["value"] == pytest.approx(np.mean(values))
    assert spread["high"] - spread["low"] > one["high"] - one["low"]


def test_repeats_on_other_test_images_have_a_mean_and_no_interval() -> None:
    other = cases(2)
    part = Cases(*(getattr(other, name)[3:] for name in ("ids", "labels", "clusters", "probabilities")))
    entry = summary(samples([cases(1), part]), "bacc")
    assert entry["value"] == pytest.approx(
        100 * np.mean([by_sklearn(one)["bacc"] for one in (cases(1), part)])
    )
    assert entry["low"] is entry["high"] is None


def test_folds_are_pooled_as_one_test_whose_groups_stay_apart() -> None:
    """Three folds with the same names of groups: measured as the whole test with groups named by fold."""
    whole = cases(3)
    fold = np.arange(60) // 20
    parts = {
        f"fold-{k}": Cases(
            whole.ids[fold == k],
            whole.labels[fold == k],
            np.array(["g0"] * 20),
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


def test_the_silhouette_is_the_mean_over_images_and_has_no_interval() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], [12, 20])
    features = random.normal(size=(32, 4)) + (labels == "b")[:, None]
    found = silhouette(features, labels)
    assert found.value == pytest.approx(silhouette_samples(features, labels).mean())
    rows = [{Trial(seed): {"silhouette": found} for seed in (1, 2)} for _ in range(2)]
    alone, gap = summary(rows[0], "silhouette"), difference(*rows, "silhouette")
    assert gap is not None
    assert alone["value"] == pytest.approx(100 * found.value, abs=1e-5)
    assert (alone["low"], alone["high"], gap["low"], gap["value"]) == (None, None, None, 0)
