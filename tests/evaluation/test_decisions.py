"""What ranks and what decides: the shift by the class prior, the criterion that chooses it, and the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

import lmd
from lmd.evaluation.answers import answer_table
from lmd.evaluation.cases import cases_of, measure_all
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.probability import decisions
from lmd.model_card import ModelCard, Outputs
from lmd.training.selection import judgement

COUNTS = np.array([800, 150, 50])
PRIOR = np.log(COUNTS / COUNTS.sum())
CLASSES = ["common", "less", "rare"]


def drawn(number: int = 300, seed: int = 0, lean: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, 3] and labels [N] of a classifier that leans to common classes as the prior does."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, number, p=COUNTS / COUNTS.sum())
    labels[:3] = range(3)
    return 2.5 * np.eye(3)[labels] + generator.normal(size=(number, 3)) + lean * PRIOR, labels


def card_of(**outputs: object) -> ModelCard:
    return ModelCard.model_construct(
        classes=CLASSES, training_counts=COUNTS.tolist(), outputs=Outputs.model_validate(outputs)
    )


def names_of(labels: np.ndarray) -> pd.DataFrame:
    ids = [f"i{row:04d}" for row in range(len(labels))]
    return pd.DataFrame({"id": ids, "label": np.array(CLASSES)[labels], "group": ids})


def test_decision_probabilities_are_the_softmax_of_the_shifted_logits() -> None:
    logits, _ = drawn()
    ranking = softmax(logits / 1.7, axis=1)
    wanted = softmax((logits - 0.75 * PRIOR) / 1.7, axis=1)
    np.testing.assert_allclose(decisions.decide(ranking, PRIOR, 0.75, 1.7), wanted, atol=1e-12)
    assert decisions.decide(ranking, PRIOR, 0.0, 1.7) is ranking


def test_a_probability_of_zero_stays_zero() -> None:
    found = decisions.decide(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]), PRIOR, 0.75)
    assert found[0].tolist() == [1.0, 0.0, 0.0]
    assert found[1, 2] == 0
    assert found[1, 1] > found[1, 0]


def test_the_criterion_is_the_mean_over_classes_of_smoothed_hits() -> None:
    logits, labels = drawn(40)
    width = 0.15 * (logits - logits.mean(1, keepdims=True)).std()
    by_class: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for row, label in zip(logits, labels, strict=True):
        margin = row[label] - max(value for k, value in enumerate(row) if k != label)
        by_class[label].append(float(expit(margin / width)))
    wanted = np.mean([np.mean(hits) for hits in by_class.values()])
    assert decisions.margin_score(logits, labels) == pytest.approx(wanted)
    sharp = decisions.margin_score(logits, labels, scale=1e-9)
    assert sharp == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)))


def test_the_criterion_leaves_out_classes_without_images_and_takes_equal_logits() -> None:
    logits, labels = drawn(40)
    some = labels < 2
    centred = logits[some] - logits[some].mean(1, keepdims=True)
    hits = expit(decisions.margins(logits, labels)[some] / (0.15 * centred.std()))
    wanted = np.mean([hits[labels[some] == k].mean() for k in (0, 1)])
    assert decisions.margin_score(logits[some], labels[some]) == pytest.approx(wanted)
    assert decisions.margin_score(np.zeros((4, 3)), np.array([0, 1, 2, 2])) == 0.5


def test_training_and_stored_probabilities_have_one_criterion() -> None:
    """A number added to all logits of a case changes no probability, so it changes neither score nor tau."""
    logits, labels = drawn(60)
    raw = logits + 20 * np.random.default_rng(1).normal(size=(60, 1))
    stored = decisions.logits_of(decisions.softmax(raw / 1.7), 1.7)
    found = judgement(raw, decisions.softmax(raw), labels, "validation", PRIOR)
    tau = decisions.choose_tau(stored, labels, PRIOR)
    assert found["tau"] == tau
    width = decisions.width_of(stored)
    assert found["margin"] == pytest.approx(decisions.margin_score(stored - tau * PRIOR, labels, width))


@pytest.mark.parametrize("lean", [0.0, 0.5, 1.0])
def test_the_tau_that_is_chosen_takes_out_what_the_classifier_leans(lean: float) -> None:
    logits, labels = drawn(20_000, lean=lean)
    assert decisions.choose_tau(logits, labels, PRIOR) == pytest.approx(lean, abs=0.1)


def test_a_table_has_what_ranks_and_what_decides_where_they_differ() -> None:
    logits, labels = drawn()
    names = names_of(labels)
    shifted = answer_table(logits, names, card_of(tau=0.75, temperature=1.7))
    assert list(shifted.columns) == [
        "id", "label", "group", "predicted", *(f"{kind}_{name}" for kind in "pd" for name in CLASSES)
    ]  # fmt: skip
    np.testing.assert_allclose(shifted.filter(regex="^p_"), softmax(logits / 1.7, axis=1), atol=1e-12)
    np.testing.assert_allclose(
        shifted.filter(regex="^d_"), softmax((logits - 0.75 * PRIOR) / 1.7, axis=1), atol=1e-12
    )
    decided = np.array(CLASSES)[(logits - 0.75 * PRIOR).argmax(1)]
    assert shifted["predicted"].tolist() == decided.tolist() != np.array(CLASSES)[logits.argmax(1)].tolist()
    plain = answer_table(logits, names, card_of())
    assert list(plain.columns) == ["id", "label", "group", "predicted", *(f"p_{name}" for name in CLASSES)]
    assert plain["predicted"].tolist() == np.array(CLASSES)[logits.argmax(1)].tolist()


def test_areas_are_of_what_ranks_and_all_else_of_what_was_decided() -> None:
    logits, labels = drawn()
    table = answer_table(logits, names_of(labels), card_of(tau=0.75))
    ranking, decided = softmax(logits, axis=1), (logits - 0.75 * PRIOR).argmax(1)
    result = evaluate(table, CLASSES, {"tail": ["rare"]}, "test")
    auc = roc_auc_score(labels, ranking, multi_class="ovr", average="macro")
    assert result.metrics["auc"].value == pytest.approx(auc)
    assert result.metrics["bacc"].value == pytest.approx(balanced_accuracy_score(labels, decided))
    assert result.bands["tail"].recall.value == pytest.approx(recall_score(labels, decided, average=None)[2])
    assert measure_all(cases_of(table, CLASSES)).predicted.tolist() == decided.tolist()
    assert np.array(result.confusion).sum(0).tolist() == np.bincount(decided, minlength=3).tolist()
    alone = lmd.evaluation.measure(labels, ranking, predicted=decided, classes=CLASSES)
    assert {name: value.value for name, value in alone.metrics.items()} == pytest.approx(
        {name: value.value for name, value in result.metrics.items()}
    )


def test_without_decisions_the_largest_probability_decides() -> None:
    logits, labels = drawn()
    table = answer_table(logits, names_of(labels), card_of()).drop(columns="predicted")
    cases = cases_of(table, CLASSES)
    assert cases.decided is None
    assert cases.predicted.tolist() == logits.argmax(1).tolist()


def test_an_unknown_decision_is_refused() -> None:
    logits, labels = drawn(5)
    table = answer_table(logits, names_of(labels), card_of())
    table.loc[3, "predicted"] = "rarest"
    with pytest.raises(lmd.DataError, match="image 'i0003' has no known predicted class: 'rarest'"):
        cases_of(table, CLASSES)
    with pytest.raises(lmd.DataError, match="there are probabilities of 5 cases, but predicted classes of"):
        lmd.evaluation.measure(labels, softmax(logits, axis=1), predicted=[0, 1])
    with pytest.raises(lmd.DataError, match="predicted classes must be whole numbers from 0 to 2"):
        lmd.evaluation.measure(labels, softmax(logits, axis=1), predicted=[0, 1, 2, 3, 0])
