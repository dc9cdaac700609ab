"""Prediction sets of new images: they are those that an evaluation measures, and say what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lmd.evaluation.cases import Cases
from lmd.evaluation.probability.source import Source
from lmd.evaluation.set_answers import promise_of
from tests import toy


def source(per_class: tuple[int, ...], groups: int | None = None) -> Source:
    """Validation cases whose probabilities of the true class are .5, .51 ... in each class."""
    labels = np.repeat(np.arange(3), per_class)
    own = np.concatenate([0.5 + 0.01 * np.arange(n) for n in per_class])
    shares = np.tile((1 - own)[:, None] / 2, 3)
    shares[np.arange(len(labels)), labels] = own
    clusters = np.arange(len(labels)) if groups is None else np.arange(len(labels)) // groups
    return Source(toy.CLASSES, "unknown", [10, 5, 3], Cases(clusters, labels, clusters, shares))


def table(shares: list[list[float]]) -> pd.DataFrame:
    found = np.array(shares)
    named = {f"p_{name}": found[:, k] for k, name in enumerate(toy.CLASSES)}
    return pd.DataFrame({"predicted": [toy.CLASSES[k] for k in found.argmax(1)], **named})


def test_a_class_is_in_a_set_from_its_threshold_on_and_the_predicted_one_always() -> None:
    promise = promise_of(source((9, 19, 9)), {"all": toy.CLASSES}, 0.9)
    # Of 9 images all have to reach it, of 19 all but one: the smallest, and the smallest but one.
    assert [one.threshold for one in promise.found] == pytest.approx([0.5, 0.51, 0.5])
    found = promise.added_to(table([[0.505, 0.495, 0.0], [0.49, 0.51, 0.0], [0.4, 0.35, 0.25]]))
    assert found["set"].tolist() == ["common", "less", "common"]
    loose = promise_of(source((9, 19, 9)), {"all": toy.CLASSES}, 0.1)
    assert loose.added_to(table([[0.2, 0.5, 0.3]]))["set"].tolist() == ["less"]


def test_the_lines_say_what_is_promised_and_what_few_images_allow() -> None:
    promise, *rest = promise_of(source((20, 5, 6)), {"few": toy.CLASSES[1:]}, 0.9).lines()
    assert "90% of the images of each of common have their class in the set, at any prevalence" in promise
    assert "like those of validation; nothing is promised of others" in promise
    assert rest == [
        f"sets: {name}: too few images alone (90% needs 9): one threshold for less and rare together, from 11 "
        "validation images; in 95 of 100 such draws it covers 72 to 100%"
        for name in toy.CLASSES[1:]
    ]
    grouped = promise_of(source((20, 5, 6), groups=2), {"few": toy.CLASSES[1:]}, 0.9).lines()
    assert "at any prevalence and with each group counting as one image" in grouped[0]
    assert "promises 90% over all" in grouped[1]
    assert promise_of(source((2, 1, 1)), {}, 0.9).lines()[0].startswith("sets: 90% of the images of no class")
