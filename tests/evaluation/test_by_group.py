"""One answer for each group: the mean of logarithms, groups of several labels, groups of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from lmd.evaluation import measure
from lmd.evaluation.groups.by_group import by_group, group_table

NAMES = ["NV", "MEL"]


def table(rows: list[tuple[str, str, float]], **more: Any) -> pd.DataFrame:
    """Rows of group, label and probability of the first class, as a predictions file is read."""
    group, label, p = zip(*rows, strict=True)
    first = np.array(p)
    found = pd.DataFrame({"id": [f"i{row}" for row in range(len(rows))], "label": label, "group": group})
    found["predicted"] = np.where(first >= 0.5, *NAMES)
    shares = {"p_NV": first.astype(str), "p_MEL": (1 - first).astype(str), **more}
    return found.assign(**shares)


def test_a_group_has_the_mean_of_its_images_logarithms() -> None:
    made, several = group_table(table([("g0", "NV", 0.9), ("g1", "MEL", 0.4), ("g0", "NV", 0.3)]), NAMES)
    assert several == []
    assert made[["id", "label", "group", "predicted", "images"]].to_numpy().tolist() == [
        ["g0", "NV", "g0", "NV", 2], ["g1", "MEL", "g1", "MEL", 1],
    ]  # fmt: skip
    logs = np.log([[0.9, 0.1], [0.3, 0.7]]).mean(0)
    np.testing.assert_allclose(made[["p_NV", "p_MEL"]].to_numpy()[0], np.exp(logs - logsumexp(logs)))
    assert made["p_NV"][1] == pytest.approx(0.4)


def test_the_decision_of_a_group_is_of_the_shifted_probabilities() -> None:
    rows = [("g0", "MEL", 0.8), ("g0", "MEL", 0.6)]
    made, _ = group_table(table(rows, d_NV=["0.6", "0.2"], d_MEL=["0.4", "0.8"]), NAMES)
    assert made["p_NV"][0] > 0.5
    assert made["predicted"][0] == "MEL"  # sqrt(.6 x .2) < sqrt(.4 x .8)
    # With tau the decision of the mean is the mean of the decisions: both are means of logits.
    p = np.array([[0.8, 0.2], [0.6, 0.4]])
    shift = np.array([0.9, 0.1]) ** -0.75
    d = p * shift / (p * shift).sum(1, keepdims=True)
    made, _ = group_table(table(rows, d_NV=d[:, 0], d_MEL=d[:, 1]), NAMES)
    of_p = made[["p_NV", "p_MEL"]].to_numpy()[0] * shift
    np.testing.assert_allclose(made[["d_NV", "d_MEL"]].to_numpy()[0], of_p / of_p.sum())


def test_a_probability_that_was_rounded_to_zero_is_no_veto() -> None:
    made, _ = group_table(table([("g", "NV", 0.0), *[("g", "NV", 0.999)] * 9]), NAMES)
    assert made["predicted"][0] == "NV"


def test_every_metric_is_that_of_the_groups() -> None:
    random = np.random.default_rng(0)
    label = np.array(["NV"] * 20 + ["MEL"] * 10)
    group = np.repeat([f"g{k}" for k in range(15)], 2)  # Two images each, all of one label.
    p = np.clip(np.where(label == "NV", 0.6, 0.4) + random.normal(0, 0.2, 30), 0.05, 0.95)
    found = by_group(table(list(zip(group, label, p.tolist(), strict=True))), NAMES, {"head": ["NV"]}, "test")
    assert not isinstance(found, str)
    made, result = found
    assert (result.n, result.images, result.several) == (15, 30, 0)
    logs = np.log(np.stack([p, 1 - p], 1)).reshape(15, 2, 2).mean(1)
    shares = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    alone = measure(np.array([0] * 10 + [1] * 5), shares, classes=NAMES, bands={"head": ["NV"]})
    assert result.metrics == alone.metrics
    assert result.classes == alone.classes
    assert result.bands == alone.bands
    assert result.confusion == alone.confusion
    np.testing.assert_allclose(made[["p_NV", "p_MEL"]].to_numpy(), shares)


def test_a_group_of_several_labels_is_left_out_and_told() -> None:
    rows = [("g0", "NV", 0.9), ("g0", "MEL", 0.2), ("g1", "NV", 0.7), ("g1", "NV", 0.8), ("g2", "MEL", 0.3)]
    found = by_group(table(rows), NAMES, {}, "test")
    assert not isinstance(found, str)
    made, result = found
    assert made["id"].tolist() == ["g1", "g2"]
    assert (result.n, result.images, result.several) == (2, 3, 1)
    assert result.reasons["several labels"] == (
        "1 group has images of several labels in split 'test' and is left out by group"
    )


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("g0", "NV", 0.9), ("g1", "MEL", 0.9)], "each group has one image"),
        ([("g0", "NV", 0.9), ("g0", "MEL", 0.9)], "the images of every group have several labels"),
    ],
)
def test_without_groups_to_measure_there_is_a_reason(rows: list[tuple[str, str, float]], why: str) -> None:
    found = by_group(table(rows), NAMES, {}, "test")
    assert isinstance(found, str)
    assert found.startswith(why)


def test_one_group_alone_has_values_and_no_interval() -> None:
    found = by_group(table([("g0", "NV", 0.9), ("g0", "NV", 0.8)]), NAMES, {}, "test")
    assert not isinstance(found, str)
    result = found[1]
    assert result.metrics["bacc"].value == 1
    assert result.metrics["bacc"].low is None
    assert "MEL" in result.reasons
