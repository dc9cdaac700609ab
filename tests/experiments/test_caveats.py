"""What must be known first: each caveat where it holds, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lmd.data.dataset.manifest import Dataset
from lmd.experiments import load
from lmd.experiments.caveats import caveats
from lmd.experiments.given import Given
from lmd.experiments.heading import block_title, title
from lmd.experiments.request import Job, Request
from lmd.settings import Tree
from lmd.text import FEW_NOTE
from tests import toy

ENOUGH = {"train": [400, 120, 50], "test": [120, 110, 100]}


def draw(folder: Path, counts: Tree, **changes: object) -> Dataset:
    """The toy without its images, and with another description."""
    dataset = toy.make_dataset(folder, {"train": [4, 3, 2], "test": [2, 2, 2]})
    rows = [
        {
            "id": f"i{split}{label}{k}",
            "file": "x.png",
            "label": name,
            "split": split,
            "group": f"{split}{label}{k}",
        }
        for split, of_class in counts.items()
        for label, (name, count) in enumerate(zip(dataset.classes, of_class, strict=True))
        for k in range(count)
    ]
    table = dataset.table.iloc[:0].copy()
    return replace(
        dataset,
        table=type(table)(rows),
        info=dataset.info.model_copy(update=changes),
    )


def job(dataset: Dataset, name: str = "table1", *, theirs: bool = False, **options: object) -> Job:
    given = Given(dataset.folder, {"": dataset})
    experiment = load(name)
    if theirs:
        counts = tuple(map(int, dataset.counts("train")))
        experiment = replace(experiment, blocks=tuple(replace(b, counts=counts) for b in experiment.blocks))
    settings: Tree = {"seeds": 2, **options}
    request = Request(name, [str(dataset.folder)], dataset.folder, **settings)
    rows = experiment.rows_of(request.budget)
    return Job(request, experiment, {experiment.blocks[0].key: given}, rows, rows)


def test_the_papers_data_split_schedule_and_seeds_need_no_caveat(tmp_path: Path) -> None:
    dataset = draw(tmp_path, ENOUGH, recipe={"split": "paper"})
    asked = job(dataset, theirs=True)
    assert caveats(asked) == []
    assert title(asked) == "Table 1: all methods on Hyper-Kvasir"
    assert block_title(asked, asked.experiment.blocks[0]) == "Hyper-Kvasir"


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"recipe": {"split": "lesion"}}, {}, "this is not the published split"),
        ({"source": "phantom"}, {}, "drawn images, not real patients"),
        ({}, {"budget": "short"}, "Budget 'short': this is not the paper's schedule"),
        ({}, {"overrides": ("size=64",)}, "images of 64 pixels, not the paper's 224"),
        ({}, {"overrides": ("batch=32",)}, "batches of 32, not the paper's 128"),
        ({}, {"overrides": ("encoder=resnet50",)}, "encoder resnet50, not the paper's resnet18"),
        ({}, {"overrides": ("pretrained=false",)}, "does not begin with ImageNet weights"),
        ({}, {"overrides": ("stage1.epochs=3",)}, "not the paper's protocol: stage1.epochs=3"),
        (
            {},
            {"weights": "mine.safetensors"},
            "begins with mine.safetensors, and not with the paper's ImageNet",
        ),
        ({}, {"weights": "x.safetensors", "partial_weights": True}, "began at random (--partial-weights)"),
        ({}, {"seeds": 1}, "One seed: the intervals leave out the spread of trainings"),
    ],
)
def test_each_departure_from_the_paper_is_said(
    change: Tree, options: Tree, words: str, tmp_path: Path
) -> None:
    dataset = draw(tmp_path, ENOUGH, **{"recipe": {"split": "paper"}, **change})
    assert sum(words in line for line in caveats(job(dataset, theirs=True, **options))) == 1


def test_few_images_are_said_with_the_metrics_that_rest_on_them(tmp_path: Path) -> None:
    counts = {"train": [400, 120, 50], "test": [120, 110, 99]}
    dataset = draw(tmp_path, counts, recipe={"split": "paper"})
    (line,) = caveats(job(dataset, "table2", theirs=True))
    assert line.startswith("fewer than 100 test images behind BACC tail (99), BACC overall (99);")
    assert FEW_NOTE not in line


def test_fewer_than_ten_images_are_marked_and_the_mark_is_explained(tmp_path: Path) -> None:
    counts = {"train": [400, 120, 50], "test": [120, 110, 9]}
    dataset = draw(tmp_path, counts, recipe={"split": "paper"})
    (line,) = caveats(job(dataset, "table2", theirs=True))
    assert line.startswith("fewer than 100 test images behind BACC tail (9 *), BACC overall (9 *);")
    assert line.endswith(f"({FEW_NOTE}.)")


def test_other_data_are_named_and_the_papers_table_is_told_where_to_read(tmp_path: Path) -> None:
    dataset = draw(tmp_path, ENOUGH, recipe={"split": "paper"}, title="Skin of Berlin")
    asked = job(dataset, "table3")
    first = caveats(asked)[0]
    assert "its table 3 is of ISIC-2019-LT" in first
    assert "'lmd paper table3' prints them" in first
    assert title(asked) == "Skin of Berlin, in the form of the paper's table 3"
    blocks = {block.key: block_title(asked, block) for block in asked.experiment.blocks}
    assert blocks["100"] == "Skin of Berlin (in the place of r = 100)"
