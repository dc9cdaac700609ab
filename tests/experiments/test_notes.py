"""What a page says of its data, its classes and the paper's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmd.data.dataset.manifest import Dataset
from lmd.experiments import load
from lmd.experiments.base import Block
from lmd.experiments.caveats import caveats
from lmd.experiments.collect import collect
from lmd.experiments.given import Given, shown_classes
from lmd.experiments.notes import about_data, all_notes
from lmd.experiments.request import Job, Request, check
from lmd.reporting.experiment import write_experiment
from lmd.reporting.experiment_figures import sweep
from lmd.settings import Tree
from tests import toy
from tests.experiments.phantoms import as_the_papers, draw_phantoms, request_of

TAIL = ["DF", "LK", "LS", "AN", "AMP"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_phantoms(tmp_path_factory.mktemp("reproduce"))


def lesions(folder: Path, classes: list[str], test: list[int]) -> Dataset:
    """A data set of these classes: the first is the head, the second medium, the third and others the tail."""
    dataset = toy.make_dataset(
        folder, {"train": [9, 5, *[3] * (len(classes) - 2)], "test": test}, classes=classes
    )
    dataset.info.bands["tail"] = classes[2:]
    return dataset


def given(dataset: Dataset) -> Given:
    return Given(dataset.folder, {"": dataset})


@pytest.mark.parametrize(
    ("name", "classes", "test", "shown"),
    [
        ("fig4", ["NV", "MEL", "LS", "AMP"], [4, 3, 5, 2], ["NV", "LS", "AMP"]),
        ("fig4", ["NV", "MEL", "LS", "AMP"], [4, 3, 5, 0], ["NV", "LS"]),
        ("fig4", ["NV", "MEL", "LS", "AN"], [4, 3, 5, 2], ["NV", "MEL", "LS"]),
        ("fig5", ["NV", "MEL", *TAIL, "VASC"], [4, 3, 5, 2, 2, 2, 2, 2], TAIL),
        ("fig5", ["NV", "MEL", *TAIL[1:], "VASC"], [4, 3, 5, 2, 2, 2, 2], [*TAIL[1:], "VASC"]),
    ],
)
def test_a_projection_shows_the_papers_classes_where_the_data_have_them(
    name: str, classes: list[str], test: list[int], shown: list[str], tmp_path: Path
) -> None:
    dataset = lesions(tmp_path / "d", classes, test)
    experiment = load(name)
    assert shown_classes(experiment, dataset) == shown
    rows = experiment.rows_of("smoke")
    job = Job(Request(name, ["d"], tmp_path), experiment, {"data": given(dataset)}, rows, rows)
    (note,) = [note for note in all_notes(job, [], {}) if note.startswith("The paper shows the classes")]
    assert ", ".join(experiment.paper.classes) in note
    assert f": {', '.join(shown)}." in note
    lacking = [wanted for wanted in experiment.paper.classes if wanted not in classes]
    assert ("this data set has no " + ", ".join(lacking) in note) == bool(lacking)


def test_data_are_the_papers_when_their_training_counts_are(tmp_path: Path) -> None:
    data = given(toy.make_dataset(tmp_path / "d"))
    same = Block("data", "x", (5, 40, 12))
    assert about_data(data, same)["has_the_papers_counts"] is True
    assert about_data(data, Block("data", "x", (5, 40, 13)))["has_the_papers_counts"] is False
    assert about_data(data, Block("data", "x"))["has_the_papers_counts"] is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("table1", "the paper's data: its table 1 is of Hyper-Kvasir. Its numbers are not shown; 'lmd paper"),
        ("table4", "the paper's data: its table 4 is of Hyper-Kvasir. Its numbers are not shown; 'lmd paper"),
        ("fig7", "the paper's data: its figure 7 is of Hyper-Kvasir."),
        ("table5", "the paper's data: its table 5 is of ISIC-Archive-LT. Its numbers are not shown"),
        ("fig4", "the paper's data: its figure 4 is of ISIC-Archive-LT."),
        ("fig3", "the paper's data: its figure 3 is of ISIC-2019-LT, r = 500."),
        ("fig6", "The paper does not say which data figure 6 is of."),
    ],
)
def test_the_first_caveat_says_whose_data_these_are(name: str, words: str, root: Path) -> None:
    assert words in caveats(check(request_of(root, name)))[0]


def page_of(root: Path, name: str, out: Path, **changes: Any) -> str:
    """The page of an experiment of which nothing was run."""
    return write_experiment(out, collect(check(request_of(root, name, **changes)), [], {})).read_text()


@pytest.mark.parametrize("name", ["table2", "table5"])
def test_what_stands_behind_the_papers_plus_minus_is_shown_and_its_meaning_left_open(
    name: str, root: Path, tmp_path: Path
) -> None:
    with as_the_papers(root):
        text = page_of(root, name, tmp_path)
    assert "| 61.63 +- 0.21 |" in text
    assert "after +-, and does not say what it is" in text


@pytest.mark.parametrize("name", ["fig3", "fig4", "fig5", "fig6", "fig7"])
def test_the_page_of_a_figure_shows_our_numbers_alone(name: str, root: Path, tmp_path: Path) -> None:
    text = page_of(root, name, tmp_path)
    assert ", paper |" not in text
    assert "The paper's figure prints no numbers: all numbers here are ours." in text


def sweep_content(curves: tuple[str, ...]) -> tuple[Tree, list[Tree]]:
    """A sweep of two values, and a row beside it."""
    keys = ("head", "tail")
    content = {
        "axis": {"title": "R", "logarithmic": True, "seconds": False, "curves": curves},
        "metrics": [{"key": key, "title": f"BACC {key}"} for key in keys],
        "ranking": "head",
        "budget": "paper",
    }

    def row(title: str, place: float | None, value: float) -> Tree:
        entry = {"ours": {"value": value, "low": value - 1, "high": value + 1}, "paper": {"value": None}}
        return {"title": title, "place": place, "seconds": 1.0, "cells": dict.fromkeys(keys, entry)}

    return content, [row("CE", None, 50.0), row("R = 1", 1.0, 60.0), row("R = 10", 10.0, 70.0)]


def test_a_sweep_draws_each_curve_it_names_and_its_baseline_as_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from matplotlib.axes import Axes

    drawn: list[Any] = []
    monkeypatch.setattr(Axes, "axhline", lambda self, y, **words: drawn.append((y, words["label"])))
    curves: list[Any] = []
    errorbar = Axes.errorbar

    def watched(self: Axes, x: Any, y: Any, **words: Any) -> Any:
        curves.append((list(x), np.asarray(y).tolist(), words["label"]))
        return errorbar(self, x, y, **words)

    monkeypatch.setattr(Axes, "errorbar", watched)
    sweep(*sweep_content(("head", "tail")))
    assert drawn == [(50.0, "CE, BACC head"), (50.0, "CE, BACC tail")]
    assert curves == [([1.0, 10.0], [60.0, 70.0], f"BACC {key}") for key in ("head", "tail")]
    sweep(*sweep_content(()))
    assert drawn[2:] == [(50.0, "CE")]
    assert curves[2:] == [([1.0, 10.0], [60.0, 70.0], None)]
