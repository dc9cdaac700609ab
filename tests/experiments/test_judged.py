"""When a row may be called higher than another: bounds of seeds and images, and no word below them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmd.experiments import load
from lmd.experiments.collect import _order
from lmd.experiments.given import Given
from lmd.experiments.judged import images_behind, images_of, verdict, why_not
from lmd.reporting.experiment_answers import answers
from lmd.settings import Tree
from tests import toy

ENOUGH = {"seeds": 2, "images": 100}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "higher"),
        ({"value": -2.0, "low": -3.0, "high": -0.5}, "lower"),
        ({"low": 0.0}, "not told apart"),
        ({"low": -0.5}, "not told apart"),
        ({"value": None, "low": None, "high": None}, "undefined"),
        ({"low": None, "high": None}, "not judged: no interval"),
        ({"seeds": 1}, "not judged: one seed"),
        ({"images": 99}, "not judged: 99 test images"),
        ({"images": 9}, "not judged: 9 * test images"),
    ],
)
def test_a_verdict_needs_seeds_images_and_the_whole_interval_on_one_side(change: Tree, words: str) -> None:
    assert verdict({"value": 2.0, "low": 0.5, "high": 3.0, **ENOUGH, **change}) == words


def test_a_mean_over_classes_is_as_sure_as_its_smallest_band_that_has_images() -> None:
    counts, bands = (
        {"a": 500, "b": 150, "c": 20, "d": 0},
        {"head": ["a"], "medium": ["b", "c"], "tail": ["d"]},
    )
    found = {
        name: images_behind(name, counts, bands)
        for name in ("head", "medium", "tail", "auc", "kappa_quadratic")
    }
    assert found == {"head": 500, "medium": 170, "tail": 0, "auc": 170, "kappa_quadratic": 670}
    assert images_behind("bacc", counts, {}) == 670


def test_a_silhouette_rests_on_the_images_that_are_shown(tmp_path: Path) -> None:
    dataset = toy.make_dataset(
        tmp_path, classes=["NV", "LS", "AMP"], counts={"train": [9, 5, 3], "test": [7, 6, 2]}
    )
    found = images_of(load("fig4"), Given(dataset.folder, {"": dataset}))
    assert (found["silhouette"], found["tail"], found["bacc"]) == (15, 2, 2)


def row(key: str, low: float, high: float, **more: Any) -> Tree:
    ours = {"value": (low + high) / 2, "low": low, "high": high, **ENOUGH, **more}
    return {"key": key, "title": key.upper(), "status": "run", "cells": {"bacc": {"ours": ours}}}


def test_rows_are_put_in_an_order_only_where_intervals_do_not_overlap() -> None:
    rows = [row("a", 10, 20), row("b", 15, 30), row("c", 40, 50)]
    _order(rows, "bacc")
    assert [(one["clearly_above"], one["clearly_below"]) for one in rows] == [(0, 1), (0, 1), (2, 0)]


@pytest.mark.parametrize("more", [{"seeds": 1}, {"images": 99}])
def test_rows_of_one_seed_or_few_images_have_no_order(more: Tree) -> None:
    rows = [row("a", 10, 20, **more), row("c", 40, 50, **more)]
    _order(rows, "bacc")
    assert why_not(rows[0]["cells"]["bacc"]["ours"]) is not None
    assert all("clearly_above" not in one for one in rows)


def content(**more: Any) -> tuple[Tree, Tree]:
    """A table in which the reference is far ahead of one row."""
    gap = {"value": 30.0, "low": 20.0, "high": 40.0, **ENOUGH, **more}
    gap["verdict"] = verdict(gap)
    rows = [{**row("lmd", 60, 70, **more), "difference": None}]
    rows.append({**row("ce", 30, 40, **more), "difference": {"bacc": gap}})
    _order(rows, "bacc")
    contrast = {"question": "LMD or CE", "first": "lmd", "second": "ce", "difference": {"bacc": gap}}
    block = {"title": "data", "rows": rows, "reference": "lmd", "contrasts": [contrast]}
    return {"metrics": [{"key": "bacc", "title": "BACC"}], "ranking": "bacc", "blocks": [block]}, block


def test_who_is_ahead_is_said_where_seeds_and_images_suffice() -> None:
    text = "\n".join(answers(*content()))
    assert "In BACC, lmd is ahead of: CE (+30.00 [+20.00, +40.00])." in text
    assert "In BACC, lmd is behind: none." in text
    assert "(lmd - ce): BACC +30.00 [+20.00, +40.00], higher." in text
    assert "clearly above / below" in text


@pytest.mark.parametrize(("more", "reason"), [({"seeds": 1}, "one seed"), ({"images": 12}, "12 test images")])
def test_below_the_bounds_no_word_of_an_order_is_left(more: Tree, reason: str) -> None:
    text = "\n".join(answers(*content(**more)))
    assert f"BACC +30.00 [+20.00, +40.00], not judged: {reason}." in text
    assert f"it is not said whether lmd is ahead of a row (not judged: {reason})." in text
    for word in ("is ahead of:", "is behind", "higher", "lower", "beats", "clearly above", "told apart"):
        assert word not in text, word
