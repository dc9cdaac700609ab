"""One bootstrap: the draws belong to the cases, so that a run has one interval wherever it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from lmd.data.dataset.manifest import Dataset, write_dataset
from lmd.data.feed.scale import MEAN, STD
from lmd.errors import DataError
from lmd.evaluation.cases import Cases, cases_of, compare, measure, read_cases
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.results import Estimate, read_evaluation
from lmd.evaluation.uncertainty import DRAWS, SEED, case_weights
from lmd.experiments.measure import difference, summary
from lmd.model_card import ModelCard
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network
from lmd.reporting.card import write_card
from lmd.reporting.comparison import comparison_table
from lmd.reporting.page import write_report
from lmd.run import RunFolder, write_identity, write_metrics, write_model
from tests import toy

CLASSES = ["a", "b", "c"]
BANDS = {"head": ["a"], "tail": ["b", "c"]}


def predictions(seed: int, count: int = 60) -> pd.DataFrame:
    """Predictions of images in groups of one to three; a few groups hold two classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    scores = random.random((count, 3)) + 0.4 * np.eye(3)[labels]
    table = pd.DataFrame(scores / scores.sum(1, keepdims=True), columns=[f"p_{name}" for name in CLASSES])
    table["id"] = [f"image{number:02d}" for number in range(count)]
    table["group"] = [f"patient {number // 7}-{number % 5}" for number in range(count)]
    return table.assign(label=[CLASSES[k] for k in labels])


def weights_of(table: pd.DataFrame) -> np.ndarray:
    return case_weights(*(table[name].to_numpy() for name in ("id", "label", "group")))


def test_the_draws_are_a_function_of_the_cases() -> None:
    """Neither the order of the rows nor the names of groups and classes matter."""
    table = predictions(0)
    weights = weights_of(table)
    order = np.random.default_rng(1).permutation(len(table))
    np.testing.assert_array_equal(weights_of(table.iloc[order]), weights[:, order])
    numbers = pd.factorize(table["group"][::-1])[0][::-1]
    renamed = table.assign(group=[f"g{number}" for number in numbers], label=table["label"].map(ord) * -1)
    np.testing.assert_array_equal(weights_of(renamed), weights)
    np.testing.assert_array_equal(cases_of(table.iloc[order], CLASSES).weights(), weights)


@pytest.mark.parametrize("column", ["label", "group"])
def test_other_cases_have_other_draws(column: str) -> None:
    table = predictions(0)
    other = table.assign(**{column: np.sort(table[column].to_numpy())})
    assert not (weights_of(other) == weights_of(table)).all()


def test_a_comparison_equals_a_slow_loop() -> None:
    first, second = (cases_of(predictions(seed), CLASSES) for seed in (1, 2))
    gaps = []
    for times in first.weights():
        scores = [
            balanced_accuracy_score(one.labels, one.probabilities.argmax(1), sample_weight=times)
            for one in (first, second)
        ]
        gaps.append(scores[0] - scores[1])
    found = compare(first, second, CLASSES, BANDS)
    assert list(found) == ["bacc", "auc", "f1", "kappa", "kappa_unweighted", "precision", "recall", *BANDS]
    value = [balanced_accuracy_score(one.labels, one.probabilities.argmax(1)) for one in (first, second)]
    low, high = np.quantile(gaps, [0.025, 0.975])
    expected = {"value": value[0] - value[1], "low": low, "high": high}
    assert found["bacc"].model_dump() == pytest.approx(expected, abs=1e-9)


def test_a_run_does_not_differ_from_itself() -> None:
    cases = cases_of(predictions(1), CLASSES)
    same = compare(cases, cases, CLASSES, BANDS)
    assert set(same.values()) == {Estimate(value=0.0, low=0.0, high=0.0)}


@pytest.mark.parametrize(
    "change",
    [
        lambda cases: replace(cases, ids=cases.ids[::-1]),
        lambda cases: replace(cases, labels=(cases.labels + 1) % 3),
        lambda cases: replace(cases, clusters=cases.ids),
    ],
)
def test_runs_on_other_cases_are_not_compared(change: Callable[[Cases], Cases]) -> None:
    cases = cases_of(predictions(1), CLASSES)
    with pytest.raises(DataError, match="not tested on the same images"):
        compare(cases, change(cases), CLASSES, BANDS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Images of patients whose names do not sort as the images do; some have several."""
    folder = tmp_path_factory.mktemp("toy")
    counts = {"train": [4, 3, 2], "val": [2, 2, 2], "test": [30, 20, 10]}
    made = toy.make_dataset(folder, counts)
    rows = range(len(made.table))
    groups = [f"{split} {97 * (row // 2) % 89}" for row, split in zip(rows, made.table["split"], strict=True)]
    mixed = made.table.assign(group=groups).sample(frac=1, random_state=0)
    return write_dataset(folder / "patients", mixed, made.info)


def finished_run(path: Path, dataset: Dataset, seed: int) -> RunFolder:
    """A run folder as a training leaves it, with a network that was never trained."""
    torch.manual_seed(seed)
    encoder = build_encoder("test_resnet")
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, seed=seed))
    folder, info = RunFolder(path), dataset.info
    sources = {"title": "toy", "source": "toy", "licence": "none", "manifest_sha256": info.manifest_sha256}
    card = {
        "method": "ce", "encoder": "test_resnet", "classifier": "linear", "classes": dataset.classes,
        "bands": info.bands, "bands_rule": info.bands_rule, "precision": "fp32",
        "preprocessing": {"size": 16, "crop": "none", "mean": MEAN, "std": STD},
        "training_counts": [4, 3, 2], "dataset": sources, "selected_by": "last", "validation_bacc": None,
        "training_seconds": 1.0,
    }  # fmt: skip
    identity = dict.fromkeys(("method_sha256", "weights_sha256", "from_sha256"))
    identity |= {"method": "ce", "data": str(dataset.folder), "manifest_sha256": info.manifest_sha256}
    write_identity(folder, {**identity, "settings": {"seed": seed}})
    write_metrics(folder, [])
    (path / "environment.json").write_text("{}")
    write_model(folder, dict(network.state_dict()), ModelCard.model_validate(card), {})
    return folder


@pytest.fixture(scope="module")
def runs(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Two evaluated runs of different training seeds."""
    folders = [finished_run(tmp_path_factory.mktemp("run"), dataset, seed) for seed in (42, 43)]
    for folder in folders:
        evaluate_run(folder, "test")
    return folders


def test_a_run_has_the_same_interval_everywhere(dataset: Dataset, runs: list[RunFolder]) -> None:
    """In its evaluation, report and card, in a comparison, and in a table of a single seed."""
    evaluations = {folder.path.name: read_evaluation(folder.evaluation("test")) for folder in runs}
    compared = {row[0]: row[2:] for row in comparison_table(evaluations)}
    for place, folder in enumerate(runs):
        evaluation = read_evaluation(folder.evaluation("test"))
        assert (evaluation.interval.seed, evaluation.interval.draws) == (SEED, DRAWS)
        assert evaluation.interval.clustered
        cases = read_cases(folder.predictions("test"), dataset)
        samples = {42: measure(cases, dataset.classes, dataset.info.bands)}
        shown = {**evaluation.metrics, **{name: band.recall for name, band in evaluation.bands.items()}}
        for name, estimate in shown.items():
            cell = summary(samples, name)
            for part, share in estimate.model_dump().items():
                assert cell[part] == round(100 * share, 6), (name, part)
        bacc = evaluation.metrics["bacc"]
        assert bacc.value is not None
        assert bacc.low is not None
        assert bacc.low < bacc.value
        assert compared["balanced accuracy"][place] == str(bacc)
        assert f"<td>{bacc}</td>" in write_report(folder.path).read_text()
        assert f"| {bacc} |" in write_card(folder.path).read_text()


def test_a_difference_is_the_same_in_a_table_and_in_a_comparison(
    dataset: Dataset, runs: list[RunFolder]
) -> None:
    cases = [read_cases(folder.predictions("test"), dataset) for folder in runs]
    found = compare(*cases, dataset.classes, dataset.info.bands)
    first, second = ({42: measure(one, dataset.classes, dataset.info.bands)} for one in cases)
    for name, estimate in found.items():
        entry = difference(first, second, name)
        assert entry is not None
        for part, share in estimate.model_dump().items():
            assert entry[part] == round(100 * share, 6), (name, part)
