"""A run has one interval wherever it is shown, and no interval claims what it does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest, chi2
from scipy.stats import t as student
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from lmd.data.dataset.manifest import Dataset, write_dataset
from lmd.data.feed.scale import MEAN, STD
from lmd.errors import DataError
from lmd.evaluation.cases import Cases, cases_of, compare, measure, measure_all, read_cases
from lmd.evaluation.evaluate import METHOD, evaluate
from lmd.evaluation.intervals.influence import BY_CELL
from lmd.evaluation.intervals.measured import WHOLE, AllMetrics, value_of
from lmd.evaluation.intervals.score import design_effect, quantile, wilson
from lmd.evaluation.intervals.uncertainty import Sample, mean_of, too_few
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.results import read_evaluation
from lmd.experiments.measure import Trial, difference, summary
from lmd.model_card import ModelCard
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network
from lmd.reporting.card import write_card
from lmd.reporting.comparison import comparison_table
from lmd.reporting.report import write_report
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


def test_the_metrics_of_a_comparison_and_their_values() -> None:
    first, second = (cases_of(predictions(seed), CLASSES) for seed in (1, 2))
    found = compare(first, second, CLASSES, BANDS)
    assert list(found) == [
        "bacc", "auc", "f1", "mcc", "kappa_quadratic", "kappa_unweighted", "precision", "recall", *BANDS
    ]  # fmt: skip
    value = [balanced_accuracy_score(one.labels, one.probabilities.argmax(1)) for one in (first, second)]
    assert found["bacc"].value == pytest.approx(value[0] - value[1])


def test_a_run_that_agrees_with_another_on_all_images_may_still_differ() -> None:
    """The difference is 0; a few images do not prove that it is 0 on others."""
    cases = cases_of(predictions(1), CLASSES)
    for name, entry in compare(cases, cases, CLASSES, BANDS).items():
        assert entry.value == 0
        if entry.low is not None and entry.high is not None:
            assert entry.low == -entry.high < 0, name
    many = Cases(
        np.arange(6000).astype(str), *(np.repeat(part, 100, axis=0) for part in (cases.labels,)),
        np.arange(6000), np.repeat(cases.probabilities, 100, axis=0),
    )  # fmt: skip
    wide, narrow = (compare(one, one, CLASSES, BANDS)["bacc"].high for one in (cases, many))
    assert wide is not None
    assert narrow is not None
    assert narrow < wide / 20


@pytest.mark.parametrize(("hits", "number"), [(0, 2), (2, 2), (5, 5), (7, 9), (7, 10), (190, 200)])
def test_the_recall_of_a_class_has_wilsons_interval(hits: int, number: int) -> None:
    """Against the formula in its usual form, with scipy's quantile."""
    labels = np.repeat([0, 1], [number, 50])
    probabilities = np.eye(2)[np.r_[np.arange(number) >= hits, np.ones(50)].astype(int)]
    cases = Cases(np.arange(len(labels)).astype(str), labels, np.arange(len(labels)), probabilities)
    entry = measure_all(cases).over("recall", [0]).estimate()
    expected = binomtest(hits, number).proportion_ci(method="wilson")
    assert (entry.low, entry.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(("misses", "number"), [(1, 3), (1, 9), (1, 200), (2, 10), (2, 200)])
def test_one_or_two_misses_move_the_end_of_wilsons_interval_outwards(misses: int, number: int) -> None:
    """The end is where so many misses or more are found once in 20 samples (Brown, Cai and DasGupta)."""
    share, by_poisson = 1 - misses / number, 1 - chi2.ppf(0.05, 2 * misses) / 2 / number
    low, high = wilson(share, float(number), quantile())
    expected = binomtest(number - misses, number).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, by_poisson), abs=1e-5)
    assert high > expected.high + 1e-4
    assert wilson(1 - share, float(number), quantile()) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("number", "means", "alone"), [(9, 0, 0), (10, 1, 0), (19, 1, 0), (20, 1, 0), (49, 1, 0), (50, 1, 1)]
)
def test_a_difference_has_an_interval_where_it_holds(number: int, means: int, alone: int) -> None:
    labels = np.repeat([0, 1], number)
    guess = np.where(np.arange(2 * number) % 3 > 0, labels, 1 - labels)
    cases = Cases(np.arange(2 * number).astype(str), labels, np.arange(2 * number), np.eye(2)[guess])
    found = compare(cases, cases, ["a", "b"], {"tail": ["b"]})
    assert [found["bacc"].low is not None, found["tail"].low is not None] == [bool(means), bool(alone)]
    assert (found["kappa_quadratic"].low is not None) == (number >= 20)


def test_groups_are_taken_to_be_rather_alike_until_they_show_it() -> None:
    """By hand, of two pairs of images: what is found, 1 lost to centring, 4 pairs more that are 0.6 alike."""
    labels, clusters = np.zeros(4, dtype=int), np.array([0, 0, 1, 1])
    same, opposite = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    assert design_effect(same, np.ones(4), labels, clusters) == pytest.approx(1 + (4 + 1 + 0.6 * 4) / 8)
    assert design_effect(opposite, np.ones(4), labels, clusters) == 1


def test_the_groups_of_each_class_are_counted() -> None:
    sample = Sample(np.array([0, 0, 0, 2, 2]), np.array([0, 0, 1, 1, 1]))
    assert sample.groups(3).tolist() == [2, 0, 1]


def test_the_balanced_accuracy_of_equal_classes_has_the_interval_of_all_images() -> None:
    """Eight hits of ten in each of four classes: as 32 of 40."""
    labels = np.repeat(np.arange(4), 10)
    guess = np.where(np.arange(40) % 10 < 8, labels, (labels + 1) % 4)
    cases = Cases(np.arange(40).astype(str), labels, np.arange(40), np.eye(4)[guess])
    entry = measure_all(cases).whole("bacc").estimate()
    expected = binomtest(32, 40).proportion_ci(method="wilson")
    at = (8 + 1.5) / 13
    assert (
        at * (1 - at) > 0
    )  # The variance is taken at the smoothed recall, and is that of a proportion there.
    assert (entry.low, entry.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_copies_in_a_group_count_once_and_independent_images_of_a_group_nearly_in_full() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    hit = random.random(400) < 0.7
    groups = np.arange(400) // 4

    def width(hits: np.ndarray, clusters: np.ndarray) -> float:
        probabilities = np.eye(2)[np.where(hits, labels, 1 - labels)]
        cases = Cases(np.arange(400).astype(str), labels, clusters, probabilities)
        entry = measure_all(cases).whole("bacc").estimate()
        assert entry.low is not None
        assert entry.high is not None
        return entry.high - entry.low

    alone = width(hit, np.arange(400))
    assert width(hit[groups * 4], groups) == pytest.approx(2 * alone, rel=0.1)
    assert width(hit, groups) == pytest.approx(alone, rel=0.2)


@pytest.mark.parametrize("metric", sorted(BY_CELL))
def test_derivatives_are_those_of_the_metric(metric: str) -> None:
    """Against differences: a little of a row moves from one cell to another, as its sum is given."""
    matrix = np.random.default_rng(0).uniform(1, 20, (4, 4))
    weights = np.ones(4) if metric in WHOLE else np.array([0.5, 0.25, 0.0, 0.25])
    found = BY_CELL[metric](matrix, weights)
    for row, cell in np.ndindex(4, 4):
        step = np.zeros((4, 4))
        step[row, cell] += 1e-5
        step[row, 0] -= 1e-5
        change = value_of(metric, matrix + step, weights) - value_of(metric, matrix - step, weights)
        assert change / 2e-5 == pytest.approx(found[row, cell] - found[row, 0], abs=1e-7)


def test_the_auc_and_its_variance_are_delongs() -> None:
    """Of one class of many images: the variances of both kinds of images over their numbers."""
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [300, 200, 250])
    scores = random.normal(size=(750, 3)) + np.eye(3)[labels]
    found = AllMetrics(Sample(labels, np.arange(750)), scores).over("auc", [1])
    assert found.value == pytest.approx(roc_auc_score(labels == 1, scores[:, 1]))
    own, others = scores[labels == 1, 1], [scores[labels == k, 1] for k in (0, 2)]
    above = [(own[:, None] > other[None]) for other in others]
    inside = np.concatenate(above, axis=1).mean(1).var(ddof=1) / 200
    outside = sum(len(part[0]) * part.mean(0).var(ddof=1) for part in above) / 550**2
    assert found.influence.variance.sum() == pytest.approx(inside + outside, rel=0.02)


def test_students_quantiles() -> None:
    for freedom in (1, 1.5, 3, 7.25, 40, 400):
        assert quantile(freedom) == pytest.approx(student.ppf(0.975, freedom), rel=2e-3)


def test_several_trainings_widen_an_interval_by_their_spread() -> None:
    cases = cases_of(predictions(1), CLASSES)
    one = measure(cases, CLASSES, BANDS)["bacc"]
    same = mean_of([one, one, one])
    apart = mean_of([replace(one, value=one.value + gap) for gap in (-0.1, 0.0, 0.1)])
    assert same.estimate() == one.estimate()
    low, high = apart.estimate().low, apart.estimate().high
    alone = one.estimate()
    assert None not in (low, high, alone.low, alone.high)
    assert high - low > alone.high - alone.low  # type: ignore[operator]


def test_f1_a_class_of_one_image_has_no_interval_and_a_reason() -> None:
    """Case F1 of ../shared/cases: it was printed as 0.000 [0.000, 0.000]."""
    table = predictions(0).assign(label=["a"] * 30 + ["b"] * 29 + ["c"])
    result = evaluate(table, CLASSES, BANDS, "test")
    assert result.classes[2].n == 1
    assert result.classes[2].recall.value in (0.0, 1.0)
    assert result.classes[2].recall.low is None
    assert str(result.classes[2].recall) in ("0.000 (no interval)", "1.000 (no interval)")
    assert result.reasons["c"].startswith("no interval: the smallest class has 1 image or group")
    assert result.metrics["bacc"].low is None
    assert "needs 2" in result.reasons["bacc"]
    assert result.classes[0].recall.low is not None


def test_no_interval_has_the_width_zero() -> None:
    for number in (1, 2, 3, 20):
        labels = np.repeat(np.arange(9), number)
        for probabilities in (np.eye(9)[labels], np.eye(9)[(labels + 1) % 9]):
            cases = Cases(np.arange(len(labels)).astype(str), labels, np.arange(len(labels)), probabilities)
            for name, measured in measure(cases, [*"abcdefghi"], {"tail": ["i"]}).items():
                entry = measured.estimate()
                assert (entry.low is None) == (entry.high is None)
                assert entry.low is None or entry.high is None or entry.high - entry.low > 0.01, name
            if number == 1:
                assert measure_all(cases).whole("bacc").estimate().low is not None  # Nine classes.


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
        assert (evaluation.interval.method, evaluation.interval.draws) == (METHOD, None)
        assert evaluation.interval.clustered
        cases = read_cases(folder.predictions("test"), dataset)
        samples = {Trial(42): measure(cases, dataset.classes, dataset.info.bands)}
        shown = {**evaluation.metrics, **{name: band.recall for name, band in evaluation.bands.items()}}
        for name, estimate in shown.items():
            cell = summary(samples, name)
            for part, share in estimate.model_dump().items():
                assert cell[part] == (None if share is None else round(100 * share, 6)), (name, part)
        bacc = evaluation.metrics["bacc"]
        assert bacc.value is not None
        assert bacc.low is not None
        assert bacc.low < bacc.value
        assert compared["balanced accuracy"][place] == str(bacc)
        assert f">{bacc}</td>" in write_report(folder.path).read_text()
        assert f"| {bacc} |" in write_card(folder.path).read_text()


def test_a_difference_is_the_same_in_a_table_and_in_a_comparison(
    dataset: Dataset, runs: list[RunFolder]
) -> None:
    cases = [read_cases(folder.predictions("test"), dataset) for folder in runs]
    found = compare(*cases, dataset.classes, dataset.info.bands)
    first, second = ({Trial(42): measure(one, dataset.classes, dataset.info.bands)} for one in cases)
    for name, estimate in found.items():
        entry = difference(first, second, name)
        assert entry is not None
        for part, share in estimate.model_dump().items():
            assert entry[part] == (None if share is None else round(100 * share, 6)), (name, part)


@pytest.mark.parametrize(("metric", "groups", "grouped", "needed"), [
    ("precision", [20, 20], True, 50), ("precision", [20, 20], False, None),
    ("recall", [1] + [9] * 7, True, 2), ("recall", [1] + [9] * 7, False, None),
])  # fmt: skip
def test_groups_of_several_images_need_more(
    metric: str, groups: list[int], grouped: bool, needed: int | None
) -> None:
    """What the simulation with groups found: precision from 50 on, and no class of one group."""
    told = too_few(metric, np.array(groups), grouped=grouped)
    assert told is None if needed is None else f"this metric needs {needed}" in str(told)
