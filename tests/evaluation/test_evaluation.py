"""Metrics against scikit-learn, intervals that mean something, and the layout of the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from lmd.errors import CheckpointError, DataError
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.metrics import (
    against_the_rest,
    all_metrics,
    balanced_accuracy,
    class_auc,
    confusion,
    kappa,
    macro_auc,
    mcc,
)
from lmd.evaluation.results import ClassResult, Estimate, read_evaluation, read_evaluations, write_evaluation

CLASSES = ["a", "b", "c", "d"]
UNDEFINED = Estimate(value=None, low=None, high=None)
EARLIER = Path(__file__).with_name("evaluation-0.1.json")  # As version 0.1 wrote it.
BANDS = {"head": ["a"], "medium": ["b", "c"], "tail": ["d"]}


def case(count: int = 300, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(4), random.choice(4, count - 4, p=[0.6, 0.2, 0.15, 0.05])]
    scores = random.normal(size=(count, 4)) + 1.5 * np.eye(4)[labels]
    scores = np.round(scores) if ties else scores
    exponentials = np.exp(scores)
    return labels, exponentials / exponentials.sum(1, keepdims=True)


def table(labels: np.ndarray, probabilities: np.ndarray, groups: list[str] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in CLASSES])
    frame.insert(0, "predicted", [CLASSES[k] for k in probabilities.argmax(1)])
    frame.insert(0, "group", groups or [f"g{i}" for i in range(len(labels))])
    frame.insert(0, "label", [CLASSES[k] for k in labels])
    frame.insert(0, "id", [f"image{i}" for i in range(len(labels))])
    return frame


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_metric_is_scikit_learns(ties: bool, weighted: bool) -> None:
    labels, probabilities = case(ties=ties)
    weight = np.random.default_rng(1).integers(1, 4, len(labels)).astype(float) if weighted else np.ones(300)
    macro, classes = all_metrics(labels, probabilities, weight[None])
    guess, extra = probabilities.argmax(1), {"sample_weight": weight}
    expected = {
        "bacc": sk.balanced_accuracy_score(labels, guess, **extra),
        "auc": np.mean([sk.roc_auc_score(labels == k, probabilities[:, k], **extra) for k in range(4)]),
        "f1": sk.f1_score(labels, guess, average="macro", **extra),
        "mcc": sk.matthews_corrcoef(labels, guess, **extra),
        "kappa_quadratic": sk.cohen_kappa_score(labels, guess, weights="quadratic", **extra),
        "kappa_unweighted": sk.cohen_kappa_score(labels, guess, **extra),
        "precision": sk.precision_score(labels, guess, average="macro", **extra),
        "recall": sk.recall_score(labels, guess, average="macro", **extra),
    }
    assert {name: float(value[0]) for name, value in macro.items()} == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(classes["recall"][0], sk.recall_score(labels, guess, average=None, **extra))
    np.testing.assert_allclose(classes["f1"][0], sk.f1_score(labels, guess, average=None, **extra))
    for k in range(4):
        own, taken = labels == k, guess == k
        found = {name: classes[name][0, k] for name in ("specificity", "ppv", "npv")}
        assert found == pytest.approx(
            {
                "specificity": sk.recall_score(~own, ~taken, **extra),
                "ppv": sk.precision_score(own, taken, **extra),
                "npv": sk.precision_score(~own, ~taken, **extra),
            }
        )


def test_mcc_of_a_constant_answer_is_scikit_learns_zero() -> None:
    labels, _ = case()
    for guess in (0, 3):
        matrix = confusion(labels, np.full(300, guess), 4, np.ones((1, 300)))
        assert mcc(matrix)[0] == sk.matthews_corrcoef(labels, np.full(300, guess)) == 0
    assert np.isnan(mcc(np.array([[3.0, 1.0], [0.0, 0.0]])))


def test_a_class_that_is_never_predicted_has_no_ppv() -> None:
    found = against_the_rest(np.array([[3.0, 0.0], [2.0, 0.0]]))
    assert np.isnan(found["ppv"][1])
    assert found["npv"][1] == pytest.approx(0.6)
    assert found["specificity"].tolist() == [0.0, 1.0]


def test_macro_auc_is_scikit_learns_one_versus_rest() -> None:
    labels, probabilities = case()
    expected = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert macro_auc(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_perfect_and_constant_predictors() -> None:
    labels, _ = case()
    macro, _ = all_metrics(labels, np.eye(4)[labels], np.ones((1, 300)))
    assert all(float(value[0]) == 1 for value in macro.values())
    constant = np.tile([0.7, 0.1, 0.1, 0.1], (300, 1))
    assert balanced_accuracy(labels, constant) == 0.25
    assert macro_auc(labels, constant) == 0.5
    macro, _ = all_metrics(labels, constant, np.ones((1, 300)))
    assert float(macro["kappa_quadratic"][0]) == pytest.approx(0)


def test_an_absent_class_is_left_out_and_said() -> None:
    labels, probabilities = case()
    keep = labels != 3
    result = evaluate(table(labels[keep], probabilities[keep]), CLASSES, BANDS, "test")
    assert result.classes[3] == ClassResult(
        name="d", n=0, band="tail", recall=UNDEFINED, precision=None, f1=None, auc=None,
        specificity=None, ppv=None, npv=None,
    )  # fmt: skip
    assert result.bands["tail"].recall == UNDEFINED
    assert "no image of this class" in result.reasons["d"]
    assert "no class of this band" in result.reasons["tail"]
    guess = probabilities[keep].argmax(1)
    expected = sk.recall_score(labels[keep], guess, labels=[0, 1, 2], average="macro")
    assert result.metrics["bacc"].value == pytest.approx(expected)


def test_undefined_is_nan_and_never_zero() -> None:
    labels, probabilities = np.zeros(5, dtype=int), np.tile([0.9, 0.1], (5, 1))
    assert np.isnan(class_auc(labels, probabilities, np.ones((1, 5)))).all()
    assert np.isnan(kappa(np.array([[5.0, 0.0], [0.0, 0.0]]), quadratic=True))


def test_the_layout_of_the_evaluation(tmp_path: Path) -> None:
    labels, probabilities = case()
    result = evaluate(table(labels, probabilities), CLASSES, BANDS, "test")
    write_evaluation(tmp_path / "evaluation-test.json", result)
    read = json.loads((tmp_path / "evaluation-test.json").read_text())
    assert read_evaluation(tmp_path / "evaluation-test.json") == result
    assert list(read) == ["split", "n", "metrics", "groups", "classes", "confusion", "interval", "reasons"]
    assert (read["split"], read["n"]) == ("test", 300)
    assert list(read["metrics"]) == [
        "bacc", "auc", "f1", "mcc", "kappa_quadratic", "kappa_unweighted", "precision", "recall"
    ]  # fmt: skip
    assert list(read["interval"]) == ["method", "level", "clustered", "clusters"]
    assert list(read["groups"]) == ["head", "medium", "tail"]
    for entry in read["metrics"].values():
        assert entry["low"] is None or entry["low"] < entry["value"] < entry["high"]
    assert read["metrics"]["bacc"]["low"] is not None
    medium = np.mean([read["classes"][k]["recall"] for k in (1, 2)])
    assert read["groups"]["medium"]["recall"]["value"] == pytest.approx(medium)
    assert read["groups"]["medium"]["n"] == int(np.isin(labels, [1, 2]).sum())
    assert [entry["n"] for entry in read["classes"]] == np.bincount(labels).tolist()
    assert np.array(read["confusion"]).sum() == 300


def test_what_an_earlier_version_wrote_is_read_and_written_again_but_for_the_name_of_kappa(
    tmp_path: Path,
) -> None:
    result = read_evaluation(EARLIER)
    assert str(result.metrics["bacc"]) == "0.722 [0.500, 0.952]"
    assert result.bands["medium"].classes == ["melanoma"]
    assert str(result.bands["rest"].recall) == "undefined"
    melanoma, absent = result.classes[1], result.classes[3]
    assert (melanoma.name, melanoma.n, melanoma.band, str(melanoma.recall)) == (
        "melanoma", 3, "medium", "0.667 [0.500, 1.000]",
    )  # fmt: skip
    assert (absent.band, absent.recall) == ("rest", UNDEFINED)
    assert (result.interval.seed, result.interval.clusters) == (42, 10)
    write_evaluation(tmp_path / "again.json", result)
    again = (tmp_path / "again.json").read_text()
    assert again == EARLIER.read_text().replace('"kappa":', '"kappa_quadratic":')
    assert again.count("kappa_quadratic") == 1


def test_the_evaluations_of_a_run_folder_are_found_by_split(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path) == {}
    for split in ("val", "test"):
        (tmp_path / f"evaluation-{split}.json").write_bytes(EARLIER.read_bytes())
    assert list(read_evaluations(tmp_path)) == ["test", "val"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", r"damaged: it is not JSON \(Expecting property name"),
        ('{"split": "test"}', "damaged: n: is missing"),
        (EARLIER.read_text().replace('"draws": 200', '"draws": "many"'), r"damaged: interval\.draws: "),
    ],
)
def test_a_damaged_evaluation_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "evaluation-test.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"evaluation-test\.json is {words}"):
        read_evaluations(tmp_path)


def test_an_estimate_as_text() -> None:
    assert str(Estimate(value=0.12345, low=0.1, high=0.2)) == "0.123 [0.100, 0.200]"
    assert str(UNDEFINED) == "undefined"
    assert str(Estimate(value=1.0, low=None, high=None)) == "1.000 (no interval)"


def width_of(entry: Estimate) -> float:
    assert entry.low is not None
    assert entry.high is not None
    return entry.high - entry.low


def test_intervals_shrink_with_more_cases_and_repeat() -> None:
    def width(count: int) -> float:
        return width_of(evaluate(table(*case(count)), CLASSES, BANDS, "test").metrics["bacc"])

    assert width(3000) < 0.6 * width(300)
    first = evaluate(table(*case()), CLASSES, BANDS, "test")
    assert first == evaluate(table(*case()), CLASSES, BANDS, "test")


def test_copies_of_a_case_in_one_group_do_not_narrow_the_interval() -> None:
    """Ten copies of each case carry no new information; clustering knows, image-wise sampling does not."""
    labels, probabilities = case(120)
    ten = np.repeat(np.arange(120), 10)
    grouped = table(labels[ten], probabilities[ten], [f"lesion{i}" for i in ten])
    single = table(labels[ten], probabilities[ten])

    def width(frame: pd.DataFrame) -> float:
        return width_of(evaluate(frame, CLASSES, BANDS, "test").metrics["bacc"])

    plain = width(table(labels, probabilities))
    assert width(grouped) == pytest.approx(plain, rel=0.2)
    assert width(single) < 0.5 * plain


def test_a_label_that_is_no_class_is_refused() -> None:
    frame = table(*case())
    frame.loc[3, "label"] = "zebra"
    with pytest.raises(DataError, match=r"'image3'.*'zebra'"):
        evaluate(frame, CLASSES, BANDS, "test")
